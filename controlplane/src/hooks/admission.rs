//! Admission: the hooks of a file have to find room beside those of the API.

use tokio::sync::mpsc::OwnedPermit;

use super::ledger::{Hooks, Shared};
use super::order::Order;
use super::spec::{HOOKS_MAX, HookSpec, Origin};

/// A place among the orders, for hooks of a file that find room.
#[derive(Debug)]
pub struct Admitted(OwnedPermit<Order>);

/// Why hooks of a file cannot be run, and the mend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoRoom {
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub mend: &'static str,
}

impl Hooks {
    /// Keeps a place for `specs`, which become the hooks of the file.
    ///
    /// Errors: the API has made hooks that leave them no room, or too many orders wait.
    pub fn admit(&self, specs: &[HookSpec]) -> Result<Admitted, NoRoom> {
        self.0.room_for_all(specs)?;
        match self.0.orders.clone().try_reserve_owned() {
            Ok(permit) => Ok(Admitted(permit)),
            Err(_) => Err(NoRoom {
                what: "too many changes of hooks wait for the disk of data.dir".to_owned(),
                mend: "reload again when it answers",
            }),
        }
    }

    /// The hooks of the file are these from now on; those that stay keep what waits.
    pub fn configure(&self, place: Admitted, specs: Vec<HookSpec>) {
        place.0.send(Order::Configure(specs));
    }
}

impl Shared {
    /// Errors: a hook of the API has the id of one of `specs`, or there would be too many.
    fn room_for_all(&self, specs: &[HookSpec]) -> Result<(), NoRoom> {
        let hooks = self.hooks();
        let of_api = hooks.values().filter(|hook| hook.origin == Origin::Api).count();
        // What is too much since the start may become less.
        if of_api + specs.len() > HOOKS_MAX.max(hooks.len()) {
            return Err(NoRoom::crowd());
        }
        drop(hooks);
        specs.iter().try_for_each(|spec| self.room_for(spec, usize::MAX))
    }

    /// Errors: a hook of the API has the id of `spec`, or there are `hooks_max` already.
    pub(super) fn room_for(&self, spec: &HookSpec, hooks_max: usize) -> Result<(), NoRoom> {
        let hooks = self.hooks();
        if hooks.get(&spec.id).is_some_and(|hook| hook.origin == Origin::Api) {
            return Err(NoRoom {
                what: format!("the API has made a hook that is called {:?}", spec.id),
                mend: "give it another id, or delete that one by the API",
            });
        }
        match hooks.len() < hooks_max {
            true => Ok(()),
            false => Err(NoRoom::crowd()),
        }
    }
}

impl NoRoom {
    fn crowd() -> Self {
        Self {
            what: format!("with those of the API there would be more than {HOOKS_MAX} hooks"),
            mend: "list fewer, or delete some by the API",
        }
    }
}
