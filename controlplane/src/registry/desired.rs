//! Registry: the desired streams, templates and tenants as one value, without IO.
//!
//! A change is planned against the value ([`Registry::plan`]), which checks it whole and says what
//! it comes to; the rows of the plan are made durable by whoever owns the store; then the plan is
//! adopted ([`Registry::adopt`]). Nothing is half changed, and a dry run is a plan that is dropped.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::{Duration, Instant};

use codecs::srt::Passphrase;
use dataplane::control::{AuthorizeRequest, Denial, Intent, Protocol};
use dataplane::ids::StreamName;

use super::ask::{PAGE_MAX, Shown};
use super::change::{Change, Plan, Refused, Subject};
use super::condition::{Condition, Version};
use super::crowd::Crowd;
use super::draft::Draft;
use super::effect::Effects;
use super::prefix::Prefix;
use super::record;
use super::resolved::{Origin, Resolved, Undeclared};
use super::running::{Running, Slot};
use super::spec::{StreamSpec, Template};
use super::tenant::{Tenant, TenantName};
use super::weight::DECLARED_BYTES_MAX;
use crate::auth::{Declarations, Declared as Declaration};

/// One thing that the file, the API, or both declare. The file wins.
#[derive(Clone, Debug)]
pub(super) struct Declared<T> {
    pub(super) file: Option<Arc<T>>,
    pub(super) stored: Option<Arc<T>>,
}

impl<T> Default for Declared<T> {
    fn default() -> Self {
        Self { file: None, stored: None }
    }
}

impl<T> Declared<T> {
    /// What is in force, and whose it is.
    pub(super) fn in_force(&self) -> Option<(Origin, &Arc<T>)> {
        let file = self.file.as_ref().map(|value| (Origin::Config, value));
        file.or_else(|| self.stored.as_ref().map(|value| (Origin::Api, value)))
    }
}

/// A declared stream.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) declared: Declared<StreamSpec>,
    pub(super) resolved: Arc<Resolved>,
}

/// A stream as it is shown.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its name.
    pub name: StreamName,
    /// What was declared of it; nothing of a runtime stream.
    pub spec: Option<Arc<StreamSpec>>,
    /// What holds.
    pub resolved: Arc<Resolved>,
    /// Its publisher, if it has or had one lately.
    pub slot: Option<Slot>,
}

impl Item {
    /// The name of what was declared; nobody declared a runtime stream.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        self.spec.as_deref().map(|spec| Version::of(&record::show(spec)))
    }
}

impl TemplateItem {
    /// The name of what was declared.
    #[must_use]
    pub fn version(&self) -> Version {
        Version::of(&record::show(self.template.as_ref()))
    }
}

/// A template as it is shown.
#[derive(Clone, Debug)]
pub struct TemplateItem {
    /// Its code.
    pub code: String,
    /// Who declared it.
    pub origin: Origin,
    /// Its values.
    pub template: Arc<Template>,
}

/// A tenant as it is shown.
#[derive(Clone, Debug)]
pub struct TenantItem {
    /// Its name.
    pub name: TenantName,
    /// Who declared it.
    pub origin: Origin,
    /// Its values.
    pub tenant: Arc<Tenant>,
}

impl TenantItem {
    /// The name of what was declared.
    #[must_use]
    pub fn version(&self) -> Version {
        Version::of(&record::show(self.tenant.as_ref()))
    }
}

/// Every stream that should exist, and who publishes.
#[derive(Debug)]
pub struct Registry {
    pub(super) streams: BTreeMap<StreamName, Entry>,
    pub(super) templates: BTreeMap<String, Declared<Template>>,
    pub(super) tenants: BTreeMap<TenantName, Declared<Tenant>>,
    pub(super) prefixes: BTreeMap<String, String>,
    pub(super) automatic: BTreeMap<String, Arc<Resolved>>,
    pub(super) open: Arc<Resolved>,
    pub(super) undeclared: Undeclared,
    /// What streams and templates take.
    pub(super) bytes: u64,
    /// What they may take; a change beyond it is refused.
    pub bytes_max: u64,
    /// How many there may be; a change beyond it is refused.
    pub(super) crowd_max: Crowd,
    /// Who publishes.
    pub running: Running,
    /// A runtime stream is forgotten this long after its end.
    pub idle: Duration,
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            streams: BTreeMap::new(),
            templates: BTreeMap::new(),
            tenants: BTreeMap::new(),
            prefixes: BTreeMap::new(),
            automatic: BTreeMap::new(),
            open: Arc::new(Resolved::open()),
            undeclared: Undeclared::default(),
            bytes: 0,
            bytes_max: DECLARED_BYTES_MAX,
            crowd_max: Crowd::MAX,
            running: Running::default(),
            idle: Duration::from_secs(30),
        }
    }
}

impl Registry {
    /// What holds for `name`: what was declared, else the template of its prefix, else what is so
    /// of undeclared streams. `None` if there shall be no such stream.
    ///
    /// It only looks: a busy or disabled stream is what it was declared to be, whoever asks.
    #[must_use]
    pub fn resolve(&self, name: &StreamName) -> Option<Arc<Resolved>> {
        if let Some(entry) = self.streams.get(name) {
            return Some(Arc::clone(&entry.resolved));
        }
        if self.undeclared == Undeclared::Off {
            return None;
        }
        let template = Prefix::candidates(name).find_map(|prefix| self.prefixes.get(prefix));
        let automatic = template.and_then(|code| self.automatic.get(code));
        match (automatic, self.undeclared) {
            (Some(resolved), _) => Some(Arc::clone(resolved)),
            (None, Undeclared::Any) => Some(Arc::clone(&self.open)),
            (None, _) => None,
        }
    }

    /// A stream is over: a declared one is there as before, another is forgotten when it stays
    /// idle. The one that had to be forgotten at once for that.
    pub fn ended(&mut self, name: &StreamName, now: Instant) -> Option<StreamName> {
        if self.streams.contains_key(name) {
            self.running.unregister(name);
            return None;
        }
        self.running.end(name, now)
    }

    /// Forgets idle runtime streams; their names.
    pub fn reap(&mut self, now: Instant) -> Vec<StreamName> {
        self.running.reap(now, self.idle)
    }

    /// When [`Self::reap`] has something to do.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.running.due(self.idle)
    }

    /// How many streams are declared.
    #[must_use]
    pub fn len(&self) -> usize {
        self.streams.len()
    }

    /// How many of each kind are declared.
    pub(super) fn crowd(&self) -> Crowd {
        let Self { templates, tenants, streams, .. } = self;
        Crowd { templates: templates.len(), tenants: tenants.len(), streams: streams.len() }
    }

    /// Bytes of memory that streams and templates take.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// True if none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// One stream, declared or alive.
    #[must_use]
    pub fn stream(&self, name: &StreamName) -> Option<Item> {
        let slot = self.running.lookup(name);
        let entry = self.streams.get(name);
        let resolved = match (entry, slot) {
            (Some(entry), _) => Arc::clone(&entry.resolved),
            (None, Some(_)) => self.resolve(name)?,
            (None, None) => return None,
        };
        let spec = entry.and_then(|entry| entry.declared.in_force()).map(|(_, spec)| spec.clone());
        Some(Item { name: name.clone(), spec, resolved, slot: slot.cloned() })
    }

    /// The streams after `name`, declared or alive, in their order.
    pub fn streams_after(&self, name: Option<&StreamName>) -> impl Iterator<Item = Item> {
        let from = name.map_or(Bound::Unbounded, Bound::Excluded);
        let declared = self.streams.range::<StreamName, _>((from, Bound::Unbounded));
        let mut declared = declared.map(|(name, _)| name).peekable();
        let mut running = self.running.after(name).map(|(name, _)| name).peekable();
        let names = std::iter::from_fn(move || match (declared.peek(), running.peek()) {
            (Some(one), Some(other)) if one == other => {
                running.next();
                declared.next()
            }
            (Some(one), Some(other)) if one < other => declared.next(),
            (Some(_), None) => declared.next(),
            (_, _) => running.next(),
        });
        names.filter_map(|name| self.stream(name))
    }

    /// The streams on the air after `name`, in their order.
    pub fn on_air_after(&self, name: Option<&StreamName>) -> impl Iterator<Item = Item> {
        let running = self.running.after(name).filter(|(_, slot)| slot.is_on_air());
        running.filter_map(|(name, _)| self.stream(name))
    }

    /// The templates after `code`, in their order.
    pub fn templates_after(&self, code: Option<&str>) -> impl Iterator<Item = TemplateItem> {
        let from = code.map_or(Bound::Unbounded, Bound::Excluded);
        self.templates.range::<str, _>((from, Bound::Unbounded)).filter_map(|(code, declared)| {
            let (origin, template) = declared.in_force()?;
            Some(TemplateItem { code: code.clone(), origin, template: Arc::clone(template) })
        })
    }

    /// One template.
    #[must_use]
    pub fn template(&self, code: &str) -> Option<TemplateItem> {
        let (origin, template) = self.templates.get(code)?.in_force()?;
        Some(TemplateItem { code: code.to_owned(), origin, template: Arc::clone(template) })
    }

    /// The tenants after `name`, in their order.
    pub fn tenants_after(&self, name: Option<&TenantName>) -> impl Iterator<Item = TenantItem> {
        let from = name.map_or(Bound::Unbounded, Bound::Excluded);
        let tenants = self.tenants.range::<TenantName, _>((from, Bound::Unbounded));
        tenants.filter_map(|(name, declared)| {
            let (origin, tenant) = declared.in_force()?;
            Some(TenantItem { name: name.clone(), origin, tenant: Arc::clone(tenant) })
        })
    }

    /// One tenant, if it is declared.
    #[must_use]
    pub fn tenant(&self, name: &TenantName) -> Option<TenantItem> {
        let (origin, tenant) = self.tenants.get(name)?.in_force()?;
        Some(TenantItem { name: name.clone(), origin, tenant: Arc::clone(tenant) })
    }

    /// Streams that take from the template `code`, at most `limit`.
    #[must_use]
    pub fn users(&self, code: &str, limit: usize) -> Vec<StreamName> {
        let uses = |entry: &Entry| entry.resolved.template.as_deref() == Some(code);
        let users = self.streams.iter().filter(|(_, entry)| uses(entry));
        users.take(limit).map(|(name, _)| name.clone()).collect()
    }

    /// Templates that streams name and nobody declares.
    #[must_use]
    pub fn incomplete(&self) -> BTreeSet<&str> {
        let gone = self.streams.values().filter(|entry| entry.resolved.incomplete);
        gone.filter_map(|entry| entry.resolved.template.as_deref()).collect()
    }

    /// What a change is about, as it is now.
    #[must_use]
    pub fn shown(&self, subject: Option<&Subject>) -> Shown {
        match subject {
            Some(Subject::Stream(name)) => Shown::Stream(self.stream(name)),
            Some(Subject::Template(code)) => {
                let template = self.template(code);
                Shown::Template(template.map(|item| (item, self.users(code, PAGE_MAX))))
            }
            Some(Subject::Tenant(name)) => Shown::Tenant(self.tenant(name)),
            None => Shown::Nothing,
        }
    }

    /// The version of what a change is about, if it is declared.
    #[must_use]
    pub fn version(&self, subject: &Subject) -> Option<Version> {
        match subject {
            Subject::Stream(name) => self.stream(name)?.version(),
            Subject::Template(code) => Some(self.template(code)?.version()),
            Subject::Tenant(name) => Some(self.tenant(name)?.version()),
        }
    }

    /// As [`Self::plan`], if `condition` holds of what the change is about.
    ///
    /// Errors: it does not hold, or those of [`Self::plan`].
    pub fn plan_if(&self, change: Change, condition: &Condition) -> Result<Plan, Refused> {
        if *condition != Condition::default()
            && let Some(subject) = change.subject()
        {
            condition.check(self.version(&subject).as_ref())?;
        }
        self.plan(change)
    }

    /// Checks `change` and says what it comes to; nothing changes.
    ///
    /// Errors: it cannot be done, as a whole.
    pub fn plan(&self, change: Change) -> Result<Plan, Refused> {
        Draft::of(self, change)
    }

    /// Makes a plan true; it was planned against this value.
    pub fn adopt(&mut self, plan: Plan) -> Effects {
        for (code, declared) in plan.templates {
            match declared.in_force() {
                Some(_) => drop(self.templates.insert(code, declared)),
                None => drop(self.templates.remove(&code)),
            }
        }
        for (name, declared) in plan.tenants {
            match declared.in_force() {
                Some(_) => drop(self.tenants.insert(name, declared)),
                None => drop(self.tenants.remove(&name)),
            }
        }
        if let Some(undeclared) = plan.undeclared {
            self.undeclared = undeclared;
        }
        if plan.templates_changed {
            (self.prefixes, self.automatic) = tables(&self.templates);
        }
        for (name, step) in plan.streams {
            match step {
                Some((declared, resolved)) => {
                    self.streams.insert(name, Entry { declared, resolved });
                }
                None => {
                    self.streams.remove(&name);
                }
            }
        }
        self.bytes = plan.bytes;
        for name in plan.forgotten {
            self.running.unregister(&name);
        }
        plan.effects
    }

    /// Plans and adopts at once.
    ///
    /// Errors: those of [`Self::plan`].
    pub fn apply(&mut self, change: Change) -> Result<Effects, Refused> {
        let plan = self.plan(change)?;
        Ok(self.adopt(plan))
    }
}

/// The registry's part of a verdict.
impl Declarations for Registry {
    fn declared(&self, request: &AuthorizeRequest, stream: &StreamName) -> Declaration {
        if request.intent == Intent::Connect {
            return Declaration::default();
        }
        match self.resolve(stream) {
            Some(resolved) => Declaration {
                verdict: resolved.judge(request.intent, request.protocol),
                key: resolved.traits.stream_key.clone(),
                waits: false,
                ways: resolved.traits.auth,
                passphrase: passphrase(request, &resolved),
                transport: resolved.traits.transport(request.protocol),
            },
            None => Declaration { verdict: Err(Denial::NotFound), ..Declaration::default() },
        }
    }
}

/// What a peer of SRT encrypts with; others need none.
fn passphrase(request: &AuthorizeRequest, resolved: &Resolved) -> Option<Passphrase> {
    let said = resolved.traits.srt_passphrase.of(request.intent);
    said.filter(|_| request.protocol == Protocol::Srt).cloned()
}

pub(super) type Tables = (BTreeMap<String, String>, BTreeMap<String, Arc<Resolved>>);

/// The prefixes with their templates, and what undeclared streams of each template are. The file's
/// prefixes win over those of the API.
pub(super) fn tables(templates: &BTreeMap<String, Declared<Template>>) -> Tables {
    let mut prefixes = BTreeMap::new();
    let mut automatic = BTreeMap::new();
    for origin in [Origin::Api, Origin::Config] {
        for (code, declared) in templates {
            let Some((from, template)) = declared.in_force() else { continue };
            if from == origin && !template.prefixes.is_empty() {
                automatic.insert(code.clone(), Arc::new(Resolved::automatic(code, template)));
                let own = template.prefixes.iter();
                prefixes.extend(own.map(|prefix| (prefix.as_str().to_owned(), code.clone())));
            }
        }
    }
    (prefixes, automatic)
}
