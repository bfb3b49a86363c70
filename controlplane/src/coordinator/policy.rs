//! Policy: what the application lets a stream do, as it says in three headers.
//!
//! Shape: `x-record: true`; `x-previews: WIDTHxHEIGHT,SECONDS`; `x-resolutions: ORIGINAL` and items
//! `WIDTHxHEIGHT[-FPS][~KBPS]` between commas. Each has one canonical text, in which the policy is
//! kept, shown and compared.
//! Errors: none. What is not understood is off, and told, because a stream on the air with less
//! than was wished for is better than none.
//! Limits: [`RUNGS_MAX`], [`PIXELS_MAX`], [`FPS_MAX`], [`KBPS_MAX`], [`DELAY_S_MAX`].
//! Not here: what is done by it, which needs a transcoder and a recorder.

use std::fmt;
use std::str::FromStr;

use http::HeaderMap;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::ToSchema;

/// Resolutions of one stream at most; further ones are left out.
pub(super) const RUNGS_MAX: usize = 16;
/// Width and height at most.
pub(super) const PIXELS_MAX: u32 = 16_384;
/// Frames a second at most.
pub(super) const FPS_MAX: u32 = 1_000;
/// Kilobits a second of one resolution at most.
pub(super) const KBPS_MAX: u32 = 1_000_000;
/// Seconds between two previews at most.
pub(super) const DELAY_S_MAX: u32 = 86_400;

/// What a stream may do besides being played.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    /// It is recorded.
    pub record: bool,
    /// Pictures are taken of it: `WIDTHxHEIGHT,SECONDS`.
    #[schema(value_type = Option<String>)]
    pub previews: Option<Previews>,
    /// In which sizes it is offered: `ORIGINAL` and `WIDTHxHEIGHT[-FPS][~KBPS]`, between commas.
    #[schema(value_type = String)]
    pub resolutions: Resolutions,
}

/// A picture of this size at most, this often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Previews {
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
    /// Seconds from one to the next.
    pub delay_s: u32,
}

/// The sizes that a stream is offered in: its own, and smaller ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolutions {
    /// As it comes.
    pub original: bool,
    /// Those made of it, in the application's order, each once.
    pub rungs: Vec<Rung>,
}

/// One size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rung {
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
    /// Frames a second; `None` for those of the source.
    pub fps: Option<u32>,
    /// Kilobits a second at most; `None` for no bound.
    pub kbps: Option<u32>,
}

impl Policy {
    /// The policy that the headers of a reply tell, and what of them was not understood.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> (Self, Vec<Unread>) {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let mut unread = Vec::new();
        let record =
            text("x-record").is_some_and(|value| value.trim().eq_ignore_ascii_case("true"));
        let previews = text("x-previews").and_then(|value| {
            let previews = value.parse().ok();
            if previews.is_none() && !is_off(value) {
                unread.push(Unread { header: "x-previews", items: 1 });
            }
            previews
        });
        let (resolutions, items) = Resolutions::read(text("x-resolutions").unwrap_or_default());
        if items > 0 {
            unread.push(Unread { header: "x-resolutions", items });
        }
        (Self { record, previews, resolutions }, unread)
    }
}

/// A header of which something was not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unread {
    /// The header.
    pub header: &'static str,
    /// How many of its items were left out.
    pub items: usize,
}

/// How an application says that it wants no previews.
fn is_off(text: &str) -> bool {
    text.trim().is_empty() || text.trim().eq_ignore_ascii_case("false")
}

/// A text that is none of what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {0}")]
pub struct NotThat(&'static str);

impl FromStr for Previews {
    type Err = NotThat;

    fn from_str(text: &str) -> Result<Self, NotThat> {
        let parse = || {
            let (size, delay) = text.split_once(',')?;
            let (width, height) = parse_size(size.trim())?;
            let delay_s = number(delay.trim(), DELAY_S_MAX)?;
            Some(Self { width, height, delay_s })
        };
        parse().ok_or(NotThat("WIDTHxHEIGHT,SECONDS"))
    }
}

impl fmt::Display for Previews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{},{}", self.width, self.height, self.delay_s)
    }
}

impl Default for Resolutions {
    fn default() -> Self {
        Self { original: true, rungs: Vec::new() }
    }
}

impl Resolutions {
    /// What `text` lists, and how many items of it were left out.
    ///
    /// A list without any item that is understood is that of a stream as it comes: the application
    /// wished for something to play.
    pub(super) fn read(text: &str) -> (Self, usize) {
        let mut list = Self { original: false, rungs: Vec::new() };
        let mut left_out = 0;
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            if item.eq_ignore_ascii_case("original") {
                list.original = true;
                continue;
            }
            match item.parse::<Rung>() {
                Ok(rung) if list.rungs.contains(&rung) => {}
                Ok(rung) if list.rungs.len() < RUNGS_MAX => list.rungs.push(rung),
                _ => left_out += 1,
            }
        }
        list.original |= list.rungs.is_empty();
        (list, left_out)
    }
}

impl FromStr for Resolutions {
    type Err = NotThat;

    /// Strict: every item must be understood.
    fn from_str(text: &str) -> Result<Self, NotThat> {
        match Self::read(text) {
            (list, 0) => Ok(list),
            _ => Err(NotThat("ORIGINAL and WIDTHxHEIGHT[-FPS][~KBPS], between commas")),
        }
    }
}

impl fmt::Display for Resolutions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut comma = "";
        if self.original {
            f.write_str("ORIGINAL")?;
            comma = ",";
        }
        for rung in &self.rungs {
            write!(f, "{comma}{rung}")?;
            comma = ",";
        }
        Ok(())
    }
}

impl FromStr for Rung {
    type Err = NotThat;

    fn from_str(text: &str) -> Result<Self, NotThat> {
        let parse = || {
            let (text, kbps) = match text.split_once('~') {
                Some((text, kbps)) => (text, optional(kbps, KBPS_MAX)?),
                None => (text, None),
            };
            let (size, fps) = match text.split_once('-') {
                Some((size, fps)) => (size, optional(fps, FPS_MAX)?),
                None => (text, None),
            };
            let (width, height) = parse_size(size)?;
            Some(Self { width, height, fps, kbps })
        };
        parse().ok_or(NotThat("WIDTHxHEIGHT[-FPS][~KBPS]"))
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)?;
        if let Some(fps) = self.fps {
            write!(f, "-{fps}")?;
        }
        if let Some(kbps) = self.kbps {
            write!(f, "~{kbps}")?;
        }
        Ok(())
    }
}

/// `WIDTHxHEIGHT`, both at least 1.
fn parse_size(text: &str) -> Option<(u32, u32)> {
    let (width, height) = text.split_once('x')?;
    Some((number(width, PIXELS_MAX)?, number(height, PIXELS_MAX)?))
}

/// A number from 1 to `max`.
fn number(text: &str, max: u32) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && (1..=max).contains(number))
}

/// A number, of which zero and those below mean that there is none.
#[expect(clippy::option_option, reason = "not a number, none, or some")]
fn optional(text: &str, max: u32) -> Option<Option<u32>> {
    match text.parse::<i64>().ok()? {
        ..=0 => Some(None),
        _ => number(text, max).map(Some),
    }
}

/// Implements serde by the canonical text.
macro_rules! as_text {
    ($kind:ty) => {
        impl Serialize for $kind {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(D::Error::custom)
            }
        }
    };
}

as_text!(Previews);
as_text!(Resolutions);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn policy(headers: &[(&'static str, &str)]) -> (Policy, Vec<Unread>) {
        let headers = headers
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap()));
        Policy::from_headers(&headers.collect())
    }

    #[test]
    fn without_headers_a_stream_is_offered_as_it_comes() {
        let (policy, unread) = policy(&[]);
        assert_eq!((&policy, unread.len()), (&Policy::default(), 0));
        assert!(!policy.record && policy.previews.is_none() && policy.resolutions.original);
    }

    #[test]
    fn recording_is_on_only_by_its_one_word() {
        for (text, on) in [
            ("true", true),
            ("TRUE", true),
            ("True", true),
            ("yes", false),
            ("1", false),
            ("", false),
            ("false", false),
            ("true,true", false),
        ] {
            assert_eq!(policy(&[("x-record", text)]).0.record, on, "{text}");
        }
    }

    #[test]
    fn previews_have_a_size_and_a_delay() {
        for (text, canonical, understood) in [
            ("320x180,10", "320x180,10", true),
            ("320x180, 10", "320x180,10", true),
            (" 320x180 ,1 ", "320x180,1", true),
            ("False", "", true),
            ("false", "", true),
            ("", "", true),
            ("320x180", "", false),
            ("320X180,10", "", false),
            ("320x180,0", "", false),
            ("320x180,-1", "", false),
            ("0x180,5", "", false),
            ("320x180,10,5", "", false),
            ("320x180,1.5", "", false),
            ("99999x180,10", "", false),
            ("320x180,4294967297", "", false),
            ("+320x180,10", "", false),
        ] {
            let (policy, unread) = policy(&[("x-previews", text)]);
            let shown = policy.previews.map(|previews| previews.to_string()).unwrap_or_default();
            assert_eq!((shown.as_str(), unread.is_empty()), (canonical, understood), "{text}");
        }
    }

    #[test]
    fn resolutions_have_one_text() {
        for (text, canonical, left_out) in [
            ("", "ORIGINAL", 0),
            ("ORIGINAL", "ORIGINAL", 0),
            ("original", "ORIGINAL", 0),
            ("640x360", "640x360", 0),
            ("640x360-30", "640x360-30", 0),
            ("640x360~800", "640x360~800", 0),
            ("1280x720-30~2500", "1280x720-30~2500", 0),
            ("1920x1080-30,1280x720-30", "1920x1080-30,1280x720-30", 0),
            ("ORIGINAL, 1280x720-60~4500, 640x360", "ORIGINAL,1280x720-60~4500,640x360", 0),
            // The word is trimmed as the sizes are, and comes first.
            ("640x360, ORIGINAL", "ORIGINAL,640x360", 0),
            (" 640x360-30 ,\toriginal , 320x180", "ORIGINAL,640x360-30,320x180", 0),
            // Zero and less mean what the source has.
            ("640x360-0", "640x360", 0),
            ("640x360--5~-1", "640x360", 0),
            ("640x360-0~0", "640x360", 0),
            ("640x360,640x360,640x360-0", "640x360", 0),
            // What is not understood is left out; nothing left is the source as it comes.
            ("640x360,big,1x", "640x360", 2),
            ("big", "ORIGINAL", 1),
            ("640X360", "ORIGINAL", 1),
            ("640x360~800-30", "ORIGINAL", 1),
            ("640x360-30-30", "ORIGINAL", 1),
            ("-640x360", "ORIGINAL", 1),
            (",,", "ORIGINAL", 0),
        ] {
            let (list, out) = Resolutions::read(text);
            assert_eq!((list.to_string().as_str(), out), (canonical, left_out), "{text}");
        }
    }

    #[test]
    fn a_long_list_is_cut() {
        let text: Vec<_> = (1..=50).map(|width| format!("{width}x10")).collect();
        let (list, left_out) = Resolutions::read(&text.join(","));
        assert_eq!((list.rungs.len(), left_out), (RUNGS_MAX, 50 - RUNGS_MAX));
    }

    #[test]
    fn json_holds_the_canonical_texts() {
        let (policy, _) = policy(&[
            ("x-record", "TRUE"),
            ("x-previews", "320x180, 10"),
            ("x-resolutions", "640x360-30, original"),
        ]);
        let json = serde_json::to_string(&policy).unwrap();
        assert_eq!(
            json,
            r#"{"record":true,"previews":"320x180,10","resolutions":"ORIGINAL,640x360-30"}"#
        );
        assert_eq!(serde_json::from_str::<Policy>(&json).unwrap(), policy);
        assert_eq!(serde_json::from_str::<Policy>("{}").unwrap(), Policy::default());
        for wrong in
            [r#"{"previews":"big"}"#, r#"{"resolutions":"640x360,big"}"#, r#"{"recording":true}"#]
        {
            assert!(serde_json::from_str::<Policy>(wrong).is_err(), "{wrong}");
        }
    }

    fn rung() -> impl Strategy<Value = Rung> {
        (
            1..=PIXELS_MAX,
            1..=PIXELS_MAX,
            proptest::option::of(1..=FPS_MAX),
            proptest::option::of(1..=KBPS_MAX),
        )
            .prop_map(|(width, height, fps, kbps)| Rung { width, height, fps, kbps })
    }

    proptest! {
        /// Whatever an application says is understood or left out, and its canonical text is
        /// understood as the same.
        #[test]
        fn any_text_becomes_a_canonical_one(text in "[0-9xX~,\\- a-zA-Z]{0,60}") {
            let (list, _) = Resolutions::read(&text);
            prop_assert!(list.original || !list.rungs.is_empty());
            prop_assert_eq!(list.to_string().parse::<Resolutions>().unwrap(), list);
            if let Ok(previews) = text.parse::<Previews>() {
                prop_assert_eq!(previews.to_string().parse::<Previews>().unwrap(), previews);
            }
        }

        /// Every list survives its own text, with any spaces between its items.
        #[test]
        fn every_list_survives_its_text(
            original in any::<bool>(),
            mut rungs in proptest::collection::vec(rung(), 1..RUNGS_MAX),
            space in " {0,3}",
        ) {
            let mut seen = Vec::new();
            rungs.retain(|rung| {
                let fresh = !seen.contains(rung);
                seen.push(*rung);
                fresh
            });
            let list = Resolutions { original, rungs };
            let spaced = list.to_string().replace(',', &format!("{space},{space}"));
            prop_assert_eq!(Resolutions::read(&spaced), (list, 0));
        }
    }
}
