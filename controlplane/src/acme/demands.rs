//! Demands: how long authorities want to be left alone, which no reload makes shorter.
//!
//! Rests of our own end with a reload, because a person may have mended what failed. What an
//! authority asked for (429, `Retry-After`, `rateLimited`) does not.
//!
//! Lives on: the control thread. Limits: [`DEMANDS_MAX`], each as long as a rest may be.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::rest::Rest;
use crate::outbound::Address;

/// Demands that are remembered; further ones push out those that are over first.
const DEMANDS_MAX: usize = 1_024;

/// An authority, and the name that is meant, or all.
type Whose = (String, Option<String>);

/// What authorities asked for. Clones are one.
#[derive(Clone, Debug, Default)]
pub(super) struct Demands(Arc<Mutex<BTreeMap<Whose, Rest>>>);

impl Demands {
    /// The authority is to be left alone with `name`, or with all.
    pub(super) fn keep(
        &self,
        authority: &Address,
        name: Option<&str>,
        rest: Rest,
        now: SystemTime,
    ) {
        let mut demands = self.all();
        demands.retain(|_, rest| rest.until(now).is_some());
        demands.insert(whose(authority, name), rest);
        if demands.len() > DEMANDS_MAX {
            let first = demands.iter().min_by_key(|(_, rest)| rest.until(now));
            let first = first.map(|(whose, _)| whose.clone());
            first.and_then(|first| demands.remove(&first));
        }
    }

    /// How long it is still to be left alone with `name`, or with all.
    pub(super) fn of(&self, authority: &Address, name: Option<&str>) -> Rest {
        self.all().get(&whose(authority, name)).cloned().unwrap_or_default()
    }

    /// It gave `name` a certificate: it has not had enough.
    pub(super) fn served(&self, authority: &Address, name: &str) {
        let mut demands = self.all();
        for name in [None, Some(name)] {
            demands.remove(&whose(authority, name));
        }
    }

    fn all(&self) -> MutexGuard<'_, BTreeMap<Whose, Rest>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn whose(authority: &Address, name: Option<&str>) -> Whose {
    (authority.with_query(), name.map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn each_authority_has_its_own_and_a_certificate_ends_them() {
        let at = |url: &str| Address::parse(url).unwrap();
        let [one, other] = ["https://ca.example/dir", "https://ca.example/staging"].map(at);
        let (demands, now) = (Demands::default(), UNIX_EPOCH + 500_000 * HOUR);
        let rest = |hours: u32| Rest::of(hours * HOUR, now);
        demands.keep(&one, None, rest(1), now);
        demands.keep(&one, Some("a.example"), rest(2), now);
        let until = |at: &Address, name: Option<&str>| demands.clone().of(at, name).until(now);
        assert_eq!(until(&one, None), Some(now + HOUR));
        assert_eq!(until(&one, Some("a.example")), Some(now + 2 * HOUR));
        assert_eq!([until(&one, Some("b.example")), until(&other, None)], [None; 2]);
        demands.served(&one, "b.example");
        assert_eq!(until(&one, None), None);
        assert_eq!(until(&one, Some("a.example")), Some(now + 2 * HOUR));
        demands.served(&one, "a.example");
        assert_eq!(until(&one, Some("a.example")), None);
    }

    #[test]
    fn few_are_remembered_and_none_that_is_over() {
        let at = Address::parse("https://ca.example/dir").unwrap();
        let (demands, now) = (Demands::default(), UNIX_EPOCH + 500_000 * HOUR);
        for nth in 0..=DEMANDS_MAX {
            let name = format!("{nth}.example");
            demands.keep(&at, Some(&name), Rest::of(HOUR * (nth as u32 + 1), now), now);
        }
        assert_eq!(demands.all().len(), DEMANDS_MAX);
        assert_eq!(demands.of(&at, Some("0.example")), Rest::default());
        let later = now + HOUR * DEMANDS_MAX as u32;
        demands.keep(&at, None, Rest::of(HOUR, later), later);
        assert_eq!(demands.all().len(), 2, "that and the longest");
    }
}
