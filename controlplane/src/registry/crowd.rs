//! Crowd: how many streams, templates and tenants there are, and how many there may be.

use super::change::{Refused, STREAMS_MAX, TEMPLATES_MAX, TENANTS_MAX};

/// Numbers of what is declared, by its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Crowd {
    pub(super) templates: usize,
    pub(super) tenants: usize,
    pub(super) streams: usize,
}

impl Crowd {
    /// What there may be.
    pub(super) const MAX: Self =
        Self { templates: TEMPLATES_MAX, tenants: TENANTS_MAX, streams: STREAMS_MAX };
    /// However many there are.
    pub(super) const ANY: Self =
        Self { templates: usize::MAX, tenants: usize::MAX, streams: usize::MAX };

    /// Lets `next` come after `known`, where so many may be; what is too much already may become
    /// less.
    ///
    /// Errors: the first kind of which no more fit.
    pub(super) fn admit(self, known: Self, next: Self) -> Result<(), Refused> {
        let kinds = self.beside(known).zip(self.beside(next));
        for ((what, max, known), (_, _, next)) in kinds {
            if next > max.max(known) {
                return Err(Refused::Full { what, max });
            }
        }
        Ok(())
    }

    /// The kinds of which there are more than may be: what it is, how many may be, and how many
    /// there are.
    pub(super) fn excess(self, there: Self) -> impl Iterator<Item = (&'static str, usize, usize)> {
        self.beside(there).filter(|&(_, max, count)| count > max)
    }

    fn beside(self, other: Self) -> impl Iterator<Item = (&'static str, usize, usize)> {
        [
            ("templates", self.templates, other.templates),
            ("tenants", self.tenants, other.tenants),
            ("streams", self.streams, other.streams),
        ]
        .into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_already_may_stay_and_become_less() {
        let of = |templates, tenants, streams| Crowd { templates, tenants, streams };
        let max = of(2, 3, 4);
        assert_eq!(max.admit(of(0, 0, 0), max), Ok(()));
        for (next, what, most) in [
            (of(3, 0, 0), "templates", 2),
            (of(0, 4, 0), "tenants", 3),
            (of(2, 3, 5), "streams", 4),
        ] {
            let refused = Err(Refused::Full { what, max: most });
            assert_eq!(max.admit(of(0, 0, 0), next), refused);
            assert_eq!(max.admit(next, next), Ok(()));
            assert_eq!(Crowd::ANY.admit(of(0, 0, 0), next), Ok(()));
        }
        assert_eq!(max.admit(of(5, 0, 0), of(4, 0, 0)), Ok(()));
        assert_eq!(
            max.admit(of(5, 0, 0), of(6, 0, 0)),
            Err(Refused::Full { what: "templates", max: 2 })
        );
        assert_eq!(max.excess(of(3, 3, 3)).collect::<Vec<_>>(), [("templates", 2, 3)]);
    }
}
