//! Draft: a plan in the making, and everything that is checked on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dataplane::ids::StreamName;
use serde_json::Value;

use super::change::{Change, FileStreams, Plan, Refused};
use super::crowd::Crowd;
use super::desired::{Declared, Entry, Registry, tables};
use super::fault::Fault;
use super::passphrases;
use super::prefix::Prefix;
use super::record;
use super::resolved::Resolved;
use super::scales::Scales;
use super::spec::{StreamSpec, Template};
use super::tenant::{Tenant, TenantName};

/// A plan in the making: what was looked up is the registry's unless the plan says otherwise.
pub(super) struct Draft<'a> {
    registry: &'a Registry,
    plan: Plan,
}

impl<'a> Draft<'a> {
    /// The plan of `change`, checked whole.
    pub(super) fn of(registry: &'a Registry, change: Change) -> Result<Plan, Refused> {
        let mut draft = Self { registry, plan: Plan::default() };
        draft.step(change)?;
        draft.finish()
    }

    fn step(&mut self, change: Change) -> Result<(), Refused> {
        match change {
            Change::PutStream { name, value } => self.put_stream(name, value),
            Change::PatchStream { name, patch } => {
                let known = self.stream(&name);
                let stored = known.stored.as_ref().ok_or_else(|| self.missing(&name))?;
                let value = changed(record::show(stored.as_ref()), patch);
                self.put_stream(name, value)
            }
            Change::DeleteStream { name } => {
                let declared = self.writable(&name)?;
                if declared.stored.is_none() {
                    return Err(self.missing(&name));
                }
                self.plan.writes.push(record::delete_stream(&name));
                self.plan.ended.insert(name.clone());
                self.plan.drafts.insert(name, Declared::default());
                Ok(())
            }
            Change::Restart { name } => match self.registry.stream(&name) {
                Some(item) if item.resolved.disabled => Err(Refused::Disabled(name)),
                Some(_) => {
                    self.plan.restarted.insert(name);
                    Ok(())
                }
                None => Err(Refused::NoStream(name)),
            },
            Change::PutTemplate { code, value } => self.put_template(code, value),
            Change::PatchTemplate { code, patch } => {
                let known = self.known_template(&code);
                let stored = known.stored.as_ref();
                let stored = stored.ok_or_else(|| Refused::NoTemplate(code.clone()))?;
                let value = changed(record::show(stored.as_ref()), patch);
                self.put_template(code, value)
            }
            Change::DeleteTemplate { code } => self.delete_template(code),
            Change::PutTenant { name, value } => {
                let tenant = Tenant::read(&name, value)?;
                self.put_tenant(name, tenant)
            }
            Change::PatchTenant { name, patch } => {
                let known = self.known_tenant(&name);
                let stored = known.stored.as_ref();
                let stored = stored.ok_or_else(|| Refused::NoTenant(name.clone()))?;
                let value = changed(record::show(stored.as_ref()), patch);
                let tenant = Tenant::read(&name, value)?;
                self.put_tenant(name, tenant)
            }
            Change::DeleteTenant { name } => self.delete_tenant(name),
            Change::All(changes) => changes
                .into_iter()
                .enumerate()
                .try_for_each(|(at, change)| self.step(change).map_err(|refused| refused.at(at))),
            Change::File(file) => {
                self.file(file);
                Ok(())
            }
            Change::Stored { streams, templates, tenants } => {
                self.stored(streams, templates, tenants);
                Ok(())
            }
        }
    }

    fn put_stream(&mut self, name: StreamName, mut value: Value) -> Result<(), Refused> {
        let known = self.stream(&name).stored;
        passphrases::unmask(&mut value, known.as_ref().map(|spec| &spec.traits))?;
        let spec = StreamSpec::read(&name, value)?;
        let mut declared = self.writable(&name)?;
        if let Some(code) = &spec.template
            && self.known_template(code).in_force().is_none()
        {
            let message = format!("there is no template {code}; make it first");
            return Err(Fault::new("template_not_found", "template", message).into());
        }
        self.plan.writes.push(record::put_stream(&name, &spec));
        declared.stored = Some(Arc::new(spec));
        self.plan.ended.remove(&name);
        self.plan.drafts.insert(name, declared);
        Ok(())
    }

    fn put_template(&mut self, code: String, mut value: Value) -> Result<(), Refused> {
        let known = self.known_template(&code).stored;
        let known = known.as_ref().map(|template| &template.traits);
        passphrases::unmask(&mut value, known)?;
        let template = Template::read(&code, value)?;
        let mut declared = self.writable_template(&code)?;
        for prefix in &template.prefixes {
            if let Some((other, overlaps)) = self.overlap(&code, prefix) {
                let prefix = prefix.to_string();
                return Err(Refused::PrefixOverlap { conflicting_with: other, prefix, overlaps });
            }
        }
        self.plan.writes.push(record::put_template(&code, &template));
        declared.stored = Some(Arc::new(template));
        self.plan.deleted_templates.remove(&code);
        self.plan.templates_changed = true;
        self.plan.templates.insert(code, declared);
        Ok(())
    }

    fn delete_template(&mut self, code: String) -> Result<(), Refused> {
        if self.writable_template(&code)?.stored.is_none() {
            return Err(Refused::NoTemplate(code));
        }
        self.plan.writes.push(record::delete_template(&code));
        self.plan.deleted_templates.insert(code.clone());
        self.plan.templates_changed = true;
        self.plan.templates.insert(code, Declared::default());
        Ok(())
    }

    fn put_tenant(&mut self, name: TenantName, tenant: Tenant) -> Result<(), Refused> {
        let mut declared = self.writable_tenant(&name)?;
        self.plan.writes.push(record::put_tenant(&name, &tenant));
        declared.stored = Some(Arc::new(tenant));
        self.plan.tenants.insert(name, declared);
        Ok(())
    }

    fn delete_tenant(&mut self, name: TenantName) -> Result<(), Refused> {
        if self.writable_tenant(&name)?.stored.is_none() {
            return Err(Refused::NoTenant(name));
        }
        self.plan.writes.push(record::delete_tenant(&name));
        self.plan.tenants.insert(name, Declared::default());
        Ok(())
    }

    /// What the file says from now on; it was checked when it was read.
    fn file(&mut self, file: FileStreams) {
        let FileStreams { mut streams, mut templates, mut tenants, undeclared } = file;
        let known = self.registry.tenants.keys().chain(tenants.keys());
        for name in known.cloned().collect::<BTreeSet<_>>() {
            let mut declared = self.known_tenant(&name);
            let file = tenants.remove(&name);
            if declared.file.as_deref() != file.as_ref() {
                declared.file = file.map(Arc::new);
                self.plan.tenants.insert(name, declared);
            }
        }
        let known = self.registry.templates.keys().chain(templates.keys());
        for code in known.cloned().collect::<BTreeSet<_>>() {
            let mut declared = self.known_template(&code);
            let file = templates.remove(&code);
            if declared.file.as_deref() != file.as_ref() {
                declared.file = file.map(Arc::new);
                self.plan.templates_changed = true;
                self.plan.templates.insert(code, declared);
            }
        }
        let known = self.registry.streams.iter().filter(|(_, e)| e.declared.file.is_some());
        let known = known.map(|(name, _)| name).chain(streams.keys());
        for name in known.cloned().collect::<BTreeSet<_>>() {
            let mut declared = self.stream(&name);
            let file = streams.remove(&name);
            if declared.file.as_deref() != file.as_ref() {
                let gone = file.is_none() && declared.stored.is_none();
                declared.file = file.map(Arc::new);
                if gone {
                    self.plan.ended.insert(name.clone());
                }
                self.plan.drafts.insert(name, declared);
            }
        }
        self.plan.undeclared = Some(undeclared);
    }

    /// What the store holds at the start; it was checked when it was written.
    fn stored(
        &mut self,
        streams: BTreeMap<StreamName, StreamSpec>,
        templates: BTreeMap<String, Template>,
        tenants: BTreeMap<TenantName, Tenant>,
    ) {
        for (name, tenant) in tenants {
            let mut declared = self.known_tenant(&name);
            declared.stored = Some(Arc::new(tenant));
            self.plan.tenants.insert(name, declared);
        }
        for (code, template) in templates {
            let mut declared = self.known_template(&code);
            declared.stored = Some(Arc::new(template));
            self.plan.templates_changed = true;
            self.plan.templates.insert(code, declared);
        }
        for (name, spec) in streams {
            let mut declared = self.stream(&name);
            declared.stored = Some(Arc::new(spec));
            self.plan.drafts.insert(name, declared);
        }
    }

    /// Judges the whole, and works out what it does to each stream that it touches.
    fn finish(self) -> Result<Plan, Refused> {
        let Self { registry, mut plan } = self;
        let mut templates = registry.templates.clone();
        templates.extend(plan.templates.iter().map(|(code, d)| (code.clone(), d.clone())));
        templates.retain(|_, declared| declared.in_force().is_some());
        let known = registry.crowd();
        let tenants = tenants_after(registry, &plan.tenants);
        let crowd = Crowd { templates: templates.len(), tenants, ..known };
        registry.crowd_max.admit(known, crowd)?;
        let changed: BTreeSet<_> = plan.templates.keys().cloned().collect();
        let mut touched: BTreeSet<_> = plan.drafts.keys().cloned().collect();
        if !changed.is_empty() {
            let takes = |entry: &Entry| {
                entry.resolved.template.as_ref().is_some_and(|code| changed.contains(code))
            };
            let users = registry.streams.iter().filter(|(_, entry)| takes(entry));
            touched.extend(users.map(|(name, _)| name.clone()));
        }
        let mut scales = Scales::new(registry, &plan)?;
        let mut next = Registry {
            undeclared: plan.undeclared.unwrap_or(registry.undeclared),
            ..Registry::default()
        };
        (next.prefixes, next.automatic) = tables(&templates);
        next.templates = templates;
        for name in &touched {
            let known = registry.streams.get(name).map(|entry| &entry.declared);
            let declared = plan.drafts.get(name).or(known).cloned().unwrap_or_default();
            let resolved = declared.in_force().map(|(origin, spec)| {
                let template = spec.template.as_deref().and_then(|code| next.template(code));
                let template = template.as_ref().map(|item| &item.template);
                Arc::new(Resolved::declared(origin, spec, template))
            });
            let entry = resolved.as_ref().map(|resolved| Entry {
                declared: declared.clone(),
                resolved: Arc::clone(resolved),
            });
            scales.replace(registry.streams.get(name), entry.as_ref())?;
            if let Some(entry) = entry {
                next.streams.insert(name.clone(), entry);
            }
            plan.streams.push((name.clone(), resolved.map(|resolved| (declared, resolved))));
        }
        let streams = streams_after(registry, &plan);
        registry.crowd_max.admit(known, Crowd { streams, ..crowd })?;
        plan.bytes = scales.weigh()?;
        refuse_orphans(registry, &plan, &next)?;
        // Streams that nobody declared are what templates and the mode make of them.
        if !changed.is_empty() || plan.undeclared.is_some() {
            let live = registry.running.after(None).map(|(name, _)| name);
            touched.extend(live.filter(|name| !registry.streams.contains_key(name)).cloned());
        }
        for name in &touched {
            let (old, new) = (registry.resolve(name), next.resolve(name));
            plan.effects.add(name, old.as_deref(), new.as_deref());
        }
        for name in &plan.ended {
            plan.effects.end(name);
            plan.forgotten.push(name.clone());
        }
        for name in &plan.restarted {
            plan.effects.restart(name);
        }
        Ok(plan)
    }

    fn stream(&self, name: &StreamName) -> Declared<StreamSpec> {
        let known = self.registry.streams.get(name).map(|entry| &entry.declared);
        self.plan.drafts.get(name).or(known).cloned().unwrap_or_default()
    }

    fn known_template(&self, code: &str) -> Declared<Template> {
        let known = self.registry.templates.get(code);
        self.plan.templates.get(code).or(known).cloned().unwrap_or_default()
    }

    fn known_tenant(&self, name: &TenantName) -> Declared<Tenant> {
        let known = self.registry.tenants.get(name);
        self.plan.tenants.get(name).or(known).cloned().unwrap_or_default()
    }

    fn writable_tenant(&self, name: &TenantName) -> Result<Declared<Tenant>, Refused> {
        let declared = self.known_tenant(name);
        match declared.file {
            Some(_) => Err(Refused::ReadOnly(name.to_string())),
            None => Ok(declared),
        }
    }

    fn writable(&self, name: &StreamName) -> Result<Declared<StreamSpec>, Refused> {
        let declared = self.stream(name);
        match declared.file {
            Some(_) => Err(Refused::ReadOnly(name.to_string())),
            None => Ok(declared),
        }
    }

    fn writable_template(&self, code: &str) -> Result<Declared<Template>, Refused> {
        let declared = self.known_template(code);
        match declared.file {
            Some(_) => Err(Refused::ReadOnly(code.to_owned())),
            None => Ok(declared),
        }
    }

    /// Why a stream that is not stored cannot be changed.
    fn missing(&self, name: &StreamName) -> Refused {
        if self.stream(name).file.is_some() {
            return Refused::ReadOnly(name.to_string());
        }
        match self.registry.running.lookup(name) {
            Some(_) => Refused::Runtime(name.clone()),
            None => Refused::NoStream(name.clone()),
        }
    }

    /// The template other than `code` that has names below `prefix`, and its prefix.
    fn overlap(&self, code: &str, prefix: &Prefix) -> Option<(String, String)> {
        let known = self.registry.templates.keys().chain(self.plan.templates.keys());
        let others: BTreeSet<_> = known.filter(|other| *other != code).collect();
        others.into_iter().find_map(|other| {
            let declared = self.known_template(other);
            let (_, template) = declared.in_force()?;
            let same = template.prefixes.iter().find(|theirs| theirs.overlaps(prefix))?;
            Some((other.clone(), same.to_string()))
        })
    }
}

/// How many tenants there are once `tenants` are as they shall be.
fn tenants_after(registry: &Registry, tenants: &BTreeMap<TenantName, Declared<Tenant>>) -> usize {
    let known = registry.tenants.keys().filter(|name| !tenants.contains_key(*name));
    let drafted = tenants.values().filter(|declared| declared.in_force().is_some());
    known.count() + drafted.count()
}

/// How many streams there are once `plan` is adopted.
fn streams_after(registry: &Registry, plan: &Plan) -> usize {
    let is_known = |name: &StreamName| registry.streams.contains_key(name);
    let (there, gone): (Vec<_>, Vec<_>) = plan.streams.iter().partition(|(_, step)| step.is_some());
    let made = there.iter().filter(|(name, _)| !is_known(name)).count();
    registry.len() + made - gone.iter().filter(|(name, _)| is_known(name)).count()
}

/// Refuses to delete a template that streams take from.
fn refuse_orphans(registry: &Registry, plan: &Plan, next: &Registry) -> Result<(), Refused> {
    const SHOWN: usize = 20;
    for code in &plan.deleted_templates {
        if next.template(code).is_some() {
            continue;
        }
        let orphan = |name: &StreamName, entry: &Entry| {
            let now = next.streams.get(name).map_or(entry, |entry| entry);
            let gone = plan.ended.contains(name);
            !gone && now.resolved.template.as_deref() == Some(code.as_str())
        };
        let known = registry.streams.iter().chain(&next.streams);
        let users = known.filter(|(name, entry)| orphan(name, entry)).map(|(name, _)| name.clone());
        let mut users: Vec<_> = users.collect::<BTreeSet<_>>().into_iter().collect();
        users.truncate(SHOWN);
        if !users.is_empty() {
            return Err(Refused::TemplateInUse { code: code.clone(), streams: users });
        }
    }
    Ok(())
}

/// What was declared, changed by a merge patch. Fields that it removes stay as `null`, so that
/// whoever reads it says which of them there are.
fn changed(target: Value, patch: Value) -> Value {
    let members = patch.as_object().into_iter().flatten();
    let removed = members.filter(|(_, value)| value.is_null());
    let removed: Vec<_> = removed.map(|(name, _)| name.clone()).collect();
    let mut value = patched(target, patch);
    if let Value::Object(object) = &mut value {
        object.extend(removed.into_iter().map(|name| (name, Value::Null)));
    }
    value
}

/// A merge patch (RFC 7396) of the top level and of objects below it.
fn patched(target: Value, patch: Value) -> Value {
    let Value::Object(patch) = patch else { return patch };
    let mut object = match target {
        Value::Object(object) => object,
        _ => serde_json::Map::new(),
    };
    for (key, value) in patch {
        match value {
            Value::Null => drop(object.remove(&key)),
            value => {
                let below = object.remove(&key).unwrap_or(Value::Null);
                object.insert(key, patched(below, value));
            }
        }
    }
    Value::Object(object)
}
