//! Modes: in which order the ways of judging are tried.
//!
//! The first mode that a request is addressed to decides. A signature is judged by `signed` and a
//! token by `jwt`: one that is no good is a no, and no other mode is tried. A request without one
//! goes on to the next mode. `keys` lets in whoever shows a key that it knows, and leaves another
//! one to an application that is asked behind it. `open`, `callback` and `coordinator` have a
//! verdict on everybody and are the last ones. Who is let in by none of them may not.

use std::fmt;

use super::mode::Mode;

/// Modes in their order: at least one, each once, those that judge everybody at the end.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Modes {
    list: [Mode; Mode::ALL.len()],
    len: u8,
}

impl Modes {
    /// One mode.
    #[must_use]
    pub const fn only(mode: Mode) -> Self {
        // What lies behind the length is always the same, so that equal lists are equal.
        let mut list = [Mode::Open; Mode::ALL.len()];
        list[0] = mode;
        Self { list, len: 1 }
    }

    /// The modes of `list`; `None` if there is none, one is there twice, or one is behind a mode
    /// that judges everybody.
    #[must_use]
    pub fn new(list: &[Mode]) -> Option<Self> {
        let (last, before) = list.split_last()?;
        let mut modes = Self::only(*last);
        if list.len() > modes.list.len() || before.iter().any(|mode| mode.is_final()) {
            return None;
        }
        for (at, mode) in list.iter().enumerate() {
            if list[..at].contains(mode) {
                return None;
            }
            modes.list[at] = *mode;
        }
        modes.len = u8::try_from(list.len()).ok()?;
        Some(modes)
    }

    /// Them in their order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Mode> + use<> {
        self.list.into_iter().take(usize::from(self.len))
    }

    /// True if `mode` is one of them.
    #[must_use]
    pub fn contains(&self, mode: Mode) -> bool {
        self.iter().any(|one| one == mode)
    }

    /// True if an application is asked about whomever the others do not decide on.
    pub(super) fn asks(&self) -> bool {
        self.contains(Mode::Callback) || self.contains(Mode::Coordinator)
    }
}

impl Default for Modes {
    fn default() -> Self {
        Self::only(Mode::default())
    }
}

impl From<Mode> for Modes {
    fn from(mode: Mode) -> Self {
        Self::only(mode)
    }
}

impl fmt::Display for Modes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, mode) in self.iter().enumerate() {
            f.write_str(if at == 0 { "" } else { ", " })?;
            f.write_str(mode.name())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Modes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_has_each_once_and_those_for_everybody_last() {
        use Mode::{Callback, Coordinator, Jwt, Keys, Open, Signed};
        for (list, told) in [
            (&[Open][..], Some("open")),
            (&[Signed, Jwt, Keys], Some("signed, jwt, keys")),
            (&[Signed, Jwt, Keys, Callback], Some("signed, jwt, keys, callback")),
            (&[Keys, Open], Some("keys, open")),
            (&[], None),
            (&[Open, Keys], None),
            (&[Callback, Coordinator], None),
            (&[Keys, Keys], None),
            (&[Keys, Signed, Keys], None),
            (&[Keys, Signed, Jwt, Keys, Signed, Jwt, Open], None),
        ] {
            let modes = Modes::new(list);
            assert_eq!(modes.map(|modes| modes.to_string()).as_deref(), told, "{list:?}");
        }
        assert_eq!(Modes::new(&[Keys]), Some(Modes::only(Keys)));
        assert!(Mode::ALL.into_iter().all(|mode| Mode::parse(mode.name()) == Some(mode)));
    }
}
