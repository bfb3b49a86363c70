//! Ask: what the API wants of the registry.

use std::sync::Arc;

use dataplane::ids::StreamName;
use tokio::sync::oneshot;

use super::change::{Change, Plan, Refused};
use super::condition::Condition;
use super::desired::{Item, Registry, TemplateItem, TenantItem};
use super::effect::Effects;
use super::file::Inventory;
use super::resolved::Origin;
use super::tenant::TenantName;

/// Streams of one page at most.
pub const PAGE_MAX: usize = 1_000;
/// Streams that are looked at for one page at most, so that a filter which fits few of them does
/// not hold the control thread up.
const LOOKED_AT_MAX: usize = 10_000;

/// A question to the registry.
#[derive(Debug)]
pub enum RegistryAsk {
    /// One stream.
    Stream {
        /// Its name.
        name: StreamName,
        /// Takes the answer.
        reply: oneshot::Sender<Option<Item>>,
    },
    /// Some streams, in their order.
    Streams {
        /// Those after this one.
        after: Option<StreamName>,
        /// So many, at most [`PAGE_MAX`].
        limit: usize,
        /// Only these.
        filter: Filter,
        /// Takes the answer.
        reply: oneshot::Sender<StreamPage>,
    },
    /// One template, and up to a thousand streams that take from it.
    Template {
        /// Its code.
        code: String,
        /// Takes the answer.
        reply: oneshot::Sender<Option<Users>>,
    },
    /// Every template after this one; there are few.
    Templates {
        /// Those after this one.
        after: Option<String>,
        /// So many, at most [`PAGE_MAX`].
        limit: usize,
        /// Takes the answer.
        reply: oneshot::Sender<Vec<TemplateItem>>,
    },
    /// One tenant.
    Tenant {
        /// Its name.
        name: TenantName,
        /// Takes the answer.
        reply: oneshot::Sender<Option<TenantItem>>,
    },
    /// Some tenants, in their order.
    Tenants {
        /// Those after this one.
        after: Option<TenantName>,
        /// So many.
        limit: usize,
        /// Takes the answer.
        reply: oneshot::Sender<Vec<TenantItem>>,
    },
    /// All that is declared.
    Declared {
        /// Takes it.
        reply: oneshot::Sender<Arc<Inventory>>,
    },
    /// A change, or what it would do.
    Change {
        /// The change.
        change: Change,
        /// It is made if this holds then.
        condition: Condition,
        /// Only what it would do.
        dry_run: bool,
        /// Takes what it does, when it is durable.
        reply: oneshot::Sender<Result<Made, Refused>>,
    },
}

/// A template, and streams that take from it.
pub type Users = (TemplateItem, Vec<StreamName>);

/// A change that was made, or would be.
#[derive(Clone, Debug)]
pub struct Made {
    /// What it is about was not declared before.
    pub created: bool,
    /// What it does.
    pub effects: Effects,
    /// What it is about, as the change left it, whoever changes it next.
    pub shown: Shown,
}

/// What a change is about.
#[derive(Clone, Debug)]
pub enum Shown {
    /// Many things.
    Nothing,
    /// A stream, if there is one.
    Stream(Option<Item>),
    /// A template, if there is one.
    Template(Option<Users>),
    /// A tenant, if there is one.
    Tenant(Option<TenantItem>),
}

/// Which streams are wanted: those that fit all that is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Declared by whom.
    pub origin: Option<Origin>,
    /// Of this template.
    pub template: Option<String>,
    /// With this tag.
    pub tag: Option<String>,
    /// Whose name begins so.
    pub prefix: Option<String>,
    /// With these letters in name, title or description, whatever their case.
    pub q: Option<String>,
    /// Only those on the air, which are found without a look at the others.
    pub on_air: bool,
}

impl Filter {
    fn fits(&self, item: &Item) -> bool {
        let traits = &item.resolved.traits;
        let fits =
            |wanted: &Option<String>, fit: &dyn Fn(&str) -> bool| wanted.as_deref().is_none_or(fit);
        let name = item.name.as_str();
        let holds = |text: &str, q: &str| text.to_lowercase().contains(&q.to_lowercase());
        self.origin.is_none_or(|origin| origin == item.resolved.origin)
            && fits(&self.template, &|code| item.resolved.template.as_deref() == Some(code))
            && fits(&self.tag, &|tag| traits.tags.iter().any(|own| own == tag))
            && fits(&self.prefix, &|prefix| name.starts_with(prefix))
            && fits(&self.q, &|q| {
                holds(name, q) || holds(&traits.name, q) || holds(&traits.description, q)
            })
    }
}

/// Some streams.
#[derive(Clone, Debug, Default)]
pub struct StreamPage {
    /// The streams.
    pub items: Vec<Item>,
    /// Where the next page begins; `None` if this is the last one. A page may be short, or empty,
    /// though there is a next one.
    pub next: Option<StreamName>,
}

impl Registry {
    /// The streams after `after` that fit, up to `limit`.
    #[must_use]
    pub fn page(&self, after: Option<&StreamName>, limit: usize, filter: &Filter) -> StreamPage {
        let mut page = StreamPage::default();
        let mut streams = match filter.on_air {
            true => Box::new(self.on_air_after(after)) as Box<dyn Iterator<Item = Item>>,
            false => Box::new(self.streams_after(after)),
        }
        .peekable();
        for _ in 0..LOOKED_AT_MAX {
            let Some(item) = streams.next() else {
                page.next = None;
                return page;
            };
            let last = item.name.clone();
            if filter.fits(&item) {
                page.items.push(item);
            }
            if page.items.len() >= limit.clamp(1, PAGE_MAX) {
                page.next = streams.peek().is_some().then_some(last);
                return page;
            }
            page.next = Some(last);
        }
        page
    }

    /// Answers a question that changes nothing; gives a change back.
    pub(super) fn answer(&self, ask: RegistryAsk) -> Option<RegistryAsk> {
        // A request may be gone: then nobody misses the answer.
        match ask {
            RegistryAsk::Stream { name, reply } => drop(reply.send(self.stream(&name))),
            RegistryAsk::Streams { after, limit, filter, reply } => {
                drop(reply.send(self.page(after.as_ref(), limit, &filter)));
            }
            RegistryAsk::Template { code, reply } => {
                let template = self.template(&code);
                let users = template.map(|template| (template, self.users(&code, PAGE_MAX)));
                drop(reply.send(users));
            }
            RegistryAsk::Templates { after, limit, reply } => {
                let templates = self.templates_after(after.as_deref());
                drop(reply.send(templates.take(limit.clamp(1, PAGE_MAX)).collect()));
            }
            RegistryAsk::Tenant { name, reply } => drop(reply.send(self.tenant(&name))),
            RegistryAsk::Tenants { after, limit, reply } => {
                drop(reply.send(self.tenants_after(after.as_ref()).take(limit).collect()));
            }
            RegistryAsk::Declared { reply } => drop(reply.send(Arc::new(self.inventory()))),
            RegistryAsk::Change { change, condition, dry_run: true, reply } => {
                let subject = change.subject();
                let known = subject.as_ref().and_then(|subject| self.version(subject));
                let made = |plan: Plan| Made {
                    created: known.is_none(),
                    effects: plan.effects,
                    shown: self.shown(subject.as_ref()),
                };
                drop(reply.send(self.plan_if(change, &condition).map(made)));
            }
            change @ RegistryAsk::Change { .. } => return Some(change),
        }
        None
    }
}
