//! Declarations: the streams and hooks that a file declares have to find room beside those of the
//! API, which is looked at before the rest of the file is in force.

use super::reloads::Fresh;
use crate::config::Loaded;
use crate::error::Error;
use crate::hooks::{Admitted, Hooks, NoRoom};
use crate::registry::{Change, Refused, Registry};

/// Lets `fresh` be applied, which gives all that is declared so much memory from now on.
///
/// Errors: there is no room for what it declares; nothing has changed then.
pub(super) fn admit(fresh: &Fresh, registry: &mut Registry) -> Result<(), Error> {
    let bytes_max = fresh.plan.control.declared_bytes_max;
    let before = std::mem::replace(&mut registry.bytes_max, bytes_max);
    // It is planned once more when it is its turn: changes of the API may come before it.
    let planned = registry.plan(Change::File(fresh.declared.clone()));
    planned.map(drop).map_err(|refused| {
        registry.bytes_max = before;
        unfit(&fresh.loaded, &refused)
    })
}

/// Keeps a place for the hooks of a file.
///
/// Errors: they find none.
pub(super) fn admit_hooks(loaded: &Loaded, hooks: &Hooks) -> Result<Admitted, Error> {
    let admitted = hooks.admit(&loaded.settings.hooks);
    admitted.map_err(|NoRoom { what, mend }| loaded.misfit("hooks", what, mend.to_owned()))
}

/// The refusal, as the key of the file that it is about, and the mend.
fn unfit(loaded: &Loaded, refused: &Refused) -> Error {
    let (key, what, mend) = match refused {
        Refused::Full { what, max } => (
            match *what {
                "templates" => "streams.template",
                "tenants" => "streams.tenant",
                _ => "streams.stream",
            },
            format!("with those of the API there would be more than {max} {what}"),
            "declare fewer, or delete some by the API",
        ),
        Refused::TooHeavy { bytes, bytes_max } => (
            "streams.declared_bytes_max",
            format!(
                "what the file and the API declare would take {bytes} bytes of memory, more than \
                 {bytes_max}"
            ),
            "raise it, say less, or delete some by the API",
        ),
        refused => ("streams.stream", refused.to_string(), "mend what the file declares"),
    };
    loaded.misfit(key, what, mend.to_owned())
}
