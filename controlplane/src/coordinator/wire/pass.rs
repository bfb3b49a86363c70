//! Pass: how a peer proves its role to a coordinator that it shares a secret with.
//!
//! Shape: a JSON Web Token, HS256, whose `sub` is that of the role; in the header [`PASS`].

use std::time::{Duration, SystemTime};

use dataplane::ids::Secret;

use super::role::Role;
use crate::auth::{Seconds, SharedKey};

/// The header of the token.
pub const PASS: &str = "x-control-auth-token";
/// A pass is good for this long: it is shown once, at once.
const GOOD_FOR: Duration = Duration::from_secs(3_600);

/// What makes and reads passes.
#[derive(Clone)]
pub struct Pass(SharedKey);

impl Pass {
    /// The passes of a secret; `None` without one.
    #[must_use]
    pub fn of(secret: &Secret) -> Option<Self> {
        SharedKey::new(secret.0.as_bytes()).map(Self)
    }

    /// A pass for `role`, made at `now`.
    #[must_use]
    pub fn issue(&self, role: Role, now: SystemTime) -> Secret {
        Secret(self.0.token(role.subject(), Seconds::of(now), GOOD_FOR))
    }

    /// What is wrong with `token` as a pass for `role`, in one word.
    ///
    /// Errors: it is none of this secret, for another role, or over.
    pub fn judge(&self, role: Role, token: &str, now: SystemTime) -> Result<(), &'static str> {
        self.0.judge(token, role.subject(), Seconds::of(now))
    }
}

impl std::fmt::Debug for Pass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pass")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pass_is_for_one_role_one_secret_and_an_hour() {
        let pass = Pass::of(&Secret("short".to_owned())).unwrap();
        let other = Pass::of(&Secret("Short".to_owned())).unwrap();
        let now = SystemTime::now();
        for role in Role::ALL {
            let token = pass.issue(role, now).0;
            for asked in Role::ALL {
                let judged = pass.judge(asked, &token, now);
                let expected = if asked == role { Ok(()) } else { Err("token_subject") };
                assert_eq!(judged, expected, "{role:?} {asked:?}");
            }
            assert_eq!(other.judge(role, &token, now), Err("token_signature"));
            let late = now + GOOD_FOR + Duration::from_secs(120);
            assert_eq!(pass.judge(role, &token, late), Err("token_expired"));
        }
        assert!(Pass::of(&Secret::default()).is_none(), "nobody shares what is not there");
    }
}
