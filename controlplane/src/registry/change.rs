//! Change: what may be wanted of the registry, what it comes to, and why it may be refused.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dataplane::ids::StreamName;
use serde_json::Value;

use super::condition::Unmet;
use super::desired::Declared;
use super::effect::Effects;
use super::fault::Fault;
use super::resolved::{Resolved, Undeclared};
use super::spec::{StreamSpec, Template};
use super::tenant::{Tenant, TenantName};
use crate::store::{StoreError, Write};

/// Declared streams at most.
pub const STREAMS_MAX: usize = 100_000;
/// Templates at most.
pub const TEMPLATES_MAX: usize = 1_000;
/// Tenants at most.
pub const TENANTS_MAX: usize = 10_000;

/// What is wanted.
#[derive(Clone, Debug)]
pub enum Change {
    /// A stream shall be as described, whole.
    PutStream {
        /// Its name.
        name: StreamName,
        /// Its description, as JSON.
        value: Value,
    },
    /// A stored stream shall differ by a merge patch (RFC 7396).
    PatchStream {
        /// Its name.
        name: StreamName,
        /// The patch.
        patch: Value,
    },
    /// A stored stream shall be no more; whoever is on it is dropped.
    DeleteStream {
        /// Its name.
        name: StreamName,
    },
    /// Everybody on a stream shall be dropped, and may come back.
    Restart {
        /// Its name.
        name: StreamName,
    },
    /// A template shall be as described, whole.
    PutTemplate {
        /// Its code.
        code: String,
        /// Its description, as JSON.
        value: Value,
    },
    /// A stored template shall differ by a merge patch (RFC 7396).
    PatchTemplate {
        /// Its code.
        code: String,
        /// The patch.
        patch: Value,
    },
    /// A template shall be no more.
    DeleteTemplate {
        /// Its code.
        code: String,
    },
    /// A tenant shall be as described, whole.
    PutTenant {
        /// Its name.
        name: TenantName,
        /// Its description, as JSON.
        value: Value,
    },
    /// A stored tenant shall differ by a merge patch (RFC 7396).
    PatchTenant {
        /// Its name.
        name: TenantName,
        /// The patch.
        patch: Value,
    },
    /// A tenant shall have no description any more; streams may go on to name it.
    DeleteTenant {
        /// Its name.
        name: TenantName,
    },
    /// All of these, in their order, or none.
    All(Vec<Self>),
    /// What the store holds, at the start.
    Stored {
        /// Its streams.
        streams: BTreeMap<StreamName, StreamSpec>,
        /// Its templates.
        templates: BTreeMap<String, Template>,
        /// Its tenants.
        tenants: BTreeMap<TenantName, Tenant>,
    },
    /// What the configuration file says was read anew.
    File(FileStreams),
}

/// What a change of one thing is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A stream.
    Stream(StreamName),
    /// A template.
    Template(String),
    /// A tenant.
    Tenant(TenantName),
}

impl Change {
    /// The one thing that it is about, if it is about one.
    #[must_use]
    pub fn subject(&self) -> Option<Subject> {
        match self {
            Self::PutStream { name, .. }
            | Self::PatchStream { name, .. }
            | Self::DeleteStream { name }
            | Self::Restart { name } => Some(Subject::Stream(name.clone())),
            Self::PutTemplate { code, .. }
            | Self::PatchTemplate { code, .. }
            | Self::DeleteTemplate { code } => Some(Subject::Template(code.clone())),
            Self::PutTenant { name, .. }
            | Self::PatchTenant { name, .. }
            | Self::DeleteTenant { name } => Some(Subject::Tenant(name.clone())),
            Self::All(_) | Self::Stored { .. } | Self::File(_) => None,
        }
    }
}

/// What the configuration file says of streams.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FileStreams {
    /// Its streams.
    pub streams: BTreeMap<StreamName, StreamSpec>,
    /// Its templates.
    pub templates: BTreeMap<String, Template>,
    /// Its tenants.
    pub tenants: BTreeMap<TenantName, Tenant>,
    /// What is so of undeclared streams.
    pub undeclared: Undeclared,
}

/// A declared stream and what holds for it.
type Step = (Declared<StreamSpec>, Arc<Resolved>);

/// A checked change: what will be written, and what it does.
#[derive(Debug, Default)]
pub struct Plan {
    /// Rows for the store.
    pub writes: Vec<Write>,
    /// What it does.
    pub effects: Effects,
    pub(super) drafts: BTreeMap<StreamName, Declared<StreamSpec>>,
    pub(super) streams: Vec<(StreamName, Option<Step>)>,
    pub(super) templates: BTreeMap<String, Declared<Template>>,
    pub(super) tenants: BTreeMap<TenantName, Declared<Tenant>>,
    pub(super) templates_changed: bool,
    pub(super) deleted_templates: BTreeSet<String>,
    pub(super) undeclared: Option<Undeclared>,
    pub(super) ended: BTreeSet<StreamName>,
    pub(super) restarted: BTreeSet<StreamName>,
    pub(super) forgotten: Vec<StreamName>,
    /// What all that is declared weighs then.
    pub(super) bytes: u64,
}

/// Why a change was refused; nothing of it was done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The description is wrong.
    #[error("{0}")]
    Fault(Fault),
    /// There is no such stream.
    #[error("there is no stream {0}")]
    NoStream(StreamName),
    /// There is no such template.
    #[error("there is no template {0}")]
    NoTemplate(String),
    /// There is no such tenant.
    #[error("there is no tenant {0}")]
    NoTenant(TenantName),
    /// The file declares it.
    #[error("{0} is declared in the configuration file; change it there and reload")]
    ReadOnly(String),
    /// It lives because it is published; nobody declared it.
    #[error("{0} is a runtime stream, which nobody declared; PUT declares it")]
    Runtime(StreamName),
    /// A disabled stream has nothing to restart.
    #[error("{0} is disabled; enable it first")]
    Disabled(StreamName),
    /// Two templates would cover the same names.
    #[error("prefix {prefix} overlaps with {overlaps} of template {conflicting_with}; change one")]
    PrefixOverlap {
        /// The other template.
        conflicting_with: String,
        /// The wanted prefix.
        prefix: String,
        /// The other's prefix.
        overlaps: String,
    },
    /// Streams take from the template.
    #[error("streams take from template {code}, such as {}; change them first", streams[0])]
    TemplateInUse {
        /// The template.
        code: String,
        /// The first of those streams.
        streams: Vec<StreamName>,
    },
    /// No more fit.
    #[error("there are {max} {what} already, and no more fit; delete some")]
    Full {
        /// What is full.
        what: &'static str,
        /// How many fit.
        max: usize,
    },
    /// It would take more memory than there is for what is declared.
    #[error(
        "streams and templates would take {bytes} bytes of memory, more than {bytes_max}; delete \
         some, say less of them, or raise streams.declared_bytes_max"
    )]
    TooHeavy {
        /// What it would take.
        bytes: u64,
        /// What there is.
        bytes_max: u64,
    },
    /// What it would change is not as the asker knows it.
    #[error("{0}")]
    Unmet(Unmet),
    /// Too many changes wait.
    #[error("too many changes wait; try again later")]
    Busy,
    /// It could not be stored.
    #[error("{0}")]
    Store(StoreError),
}

impl Refused {
    /// One fixed word.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Fault(fault) => fault.code,
            Self::NoStream(_) => "unknown_stream",
            Self::NoTemplate(_) => "unknown_template",
            Self::NoTenant(_) => "unknown_tenant",
            Self::ReadOnly(_) => "read_only",
            Self::Runtime(_) => "runtime_stream_not_editable",
            Self::Disabled(_) => "stream_disabled",
            Self::PrefixOverlap { .. } => "prefix_overlap",
            Self::TemplateInUse { .. } => "template_in_use",
            Self::Full { .. } | Self::TooHeavy { .. } => "full",
            Self::Unmet(_) => "precondition_failed",
            Self::Busy | Self::Store(StoreError::Busy) => "unavailable",
            Self::Store(StoreError::TooLarge) => "too_large",
            Self::Store(StoreError::Failed(_)) => "store_failed",
        }
    }

    /// The field that is wrong, if one is.
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        match self {
            Self::Fault(fault) if !fault.field.is_empty() => Some(&fault.field),
            Self::PrefixOverlap { .. } => Some("prefixes"),
            _ => None,
        }
    }

    /// The same refusal, of one of several changes.
    #[must_use]
    pub(super) fn at(self, index: usize) -> Self {
        match self {
            Self::Fault(fault) => Self::Fault(fault.within(&format!("[{index}]"))),
            refused => refused,
        }
    }
}

impl From<Unmet> for Refused {
    fn from(unmet: Unmet) -> Self {
        Self::Unmet(unmet)
    }
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}
