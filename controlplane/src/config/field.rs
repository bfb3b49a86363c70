//! Field: how a typed value is read from TOML, written to TOML and explained.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use codecs::time::MediaTime;
use dataplane::config::ReconnectUrl;

use super::document::Datum;

/// What the numbers of a key count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Things, or nothing at all.
    One,
    /// Bytes: text such as `16MiB` is understood too.
    Bytes,
    /// Milliseconds.
    Millis,
}

/// The legal range of a number.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The least.
    pub min: u64,
    /// The greatest.
    pub max: u64,
    /// What is counted.
    pub unit: Unit,
}

impl Bounds {
    fn phrase(&self) -> String {
        let Self { min, max, .. } = self;
        let what = match self.unit {
            Unit::One => "a whole number",
            Unit::Bytes => "a number of bytes (or text such as \"16MiB\")",
            Unit::Millis => "a number of milliseconds",
        };
        match *max {
            u64::MAX => format!("{what} of at least {min}"),
            _ => format!("{what} from {min} to {max}"),
        }
    }

    fn read(&self, datum: &Datum) -> Option<u64> {
        let value = match datum {
            Datum::Integer(value) => u64::try_from(*value).ok()?,
            Datum::Text(text) if self.unit == Unit::Bytes => parse_bytes(text)?,
            _ => return None,
        };
        (self.min..=self.max).contains(&value).then_some(value)
    }
}

/// One configurable value.
///
/// Errors: `read` leaves the value as it was and returns `None` when the datum does not fit.
pub trait Field {
    /// What a value must be: the words after "expected".
    fn expects(&self, bounds: &Bounds) -> String {
        bounds.phrase()
    }
    /// Takes the value from TOML.
    fn read(&mut self, datum: &Datum, bounds: &Bounds) -> Option<()>;
    /// The value in TOML; equal values have equal text.
    fn render(&self) -> String;
}

impl Field for Option<ReconnectUrl> {
    fn expects(&self, _: &Bounds) -> String {
        "a URL such as \"rtmp://other.example/live\", or \"\"".to_owned()
    }
    fn read(&mut self, datum: &Datum, _: &Bounds) -> Option<()> {
        let Datum::Text(text) = datum else { return None };
        *self = if text.is_empty() { None } else { Some(ReconnectUrl::parse(text)?) };
        Some(())
    }
    fn render(&self) -> String {
        quoted(self.as_ref().map_or("", ReconnectUrl::as_str))
    }
}

macro_rules! whole_number {
    ($($kind:ty),*) => {$(
        impl Field for $kind {
            fn read(&mut self, datum: &Datum, bounds: &Bounds) -> Option<()> {
                *self = Self::try_from(bounds.read(datum)?).ok()?;
                Some(())
            }
            fn render(&self) -> String {
                self.to_string()
            }
        }
    )*};
}

whole_number!(u64, u32, u16, u8);

impl Field for Duration {
    fn read(&mut self, datum: &Datum, bounds: &Bounds) -> Option<()> {
        *self = Self::from_millis(bounds.read(datum)?);
        Some(())
    }
    fn render(&self) -> String {
        self.as_millis().to_string()
    }
}

impl Field for MediaTime {
    fn read(&mut self, datum: &Datum, bounds: &Bounds) -> Option<()> {
        *self = Self::from_millis(i64::try_from(bounds.read(datum)?).ok()?);
        Some(())
    }
    fn render(&self) -> String {
        self.as_millis().to_string()
    }
}

impl Field for f64 {
    fn expects(&self, _: &Bounds) -> String {
        "a number above 0.0 and at most 1.0".to_owned()
    }
    fn read(&mut self, datum: &Datum, _: &Bounds) -> Option<()> {
        let value = match datum {
            Datum::Float(value) => *value,
            // A whole number is the share 1 at most, so the conversion is exact where it counts.
            Datum::Integer(1) => 1.0,
            _ => return None,
        };
        (value > 0.0 && value <= 1.0).then(|| *self = value)
    }
    fn render(&self) -> String {
        format!("{self:?}")
    }
}

impl Field for bool {
    fn expects(&self, _: &Bounds) -> String {
        "true or false".to_owned()
    }
    fn read(&mut self, datum: &Datum, _: &Bounds) -> Option<()> {
        let Datum::Flag(value) = datum else { return None };
        *self = *value;
        Some(())
    }
    fn render(&self) -> String {
        self.to_string()
    }
}

impl Field for SocketAddr {
    fn expects(&self, _: &Bounds) -> String {
        "an address and port such as \"127.0.0.1:8090\"".to_owned()
    }
    fn read(&mut self, datum: &Datum, _: &Bounds) -> Option<()> {
        let Datum::Text(text) = datum else { return None };
        *self = text.trim().parse().ok()?;
        Some(())
    }
    fn render(&self) -> String {
        quoted(&self.to_string())
    }
}

impl Field for Vec<SocketAddr> {
    fn expects(&self, _: &Bounds) -> String {
        "an address and port such as \"[::]:1935\", or a list of them".to_owned()
    }
    fn read(&mut self, datum: &Datum, _: &Bounds) -> Option<()> {
        let list: Self =
            texts(datum)?.iter().map(|text| text.parse()).collect::<Result<_, _>>().ok()?;
        (!list.is_empty()).then(|| *self = list)
    }
    fn render(&self) -> String {
        match self.as_slice() {
            [one] => one.render(),
            many => list(many.iter().map(ToString::to_string)),
        }
    }
}

impl Field for Vec<String> {
    fn expects(&self, _: &Bounds) -> String {
        "a list of texts".to_owned()
    }
    fn read(&mut self, datum: &Datum, _: &Bounds) -> Option<()> {
        *self = texts(datum)?;
        Some(())
    }
    fn render(&self) -> String {
        list(self.iter().cloned())
    }
}

impl Field for PathBuf {
    fn expects(&self, _: &Bounds) -> String {
        "a path".to_owned()
    }
    fn read(&mut self, datum: &Datum, _: &Bounds) -> Option<()> {
        let Datum::Text(text) = datum else { return None };
        (!text.is_empty()).then(|| *self = Self::from(text))
    }
    fn render(&self) -> String {
        quoted(&self.to_string_lossy())
    }
}

/// A file that need not be.
impl Field for Option<PathBuf> {
    fn expects(&self, _: &Bounds) -> String {
        "a path, or \"\" for none".to_owned()
    }
    fn read(&mut self, datum: &Datum, _: &Bounds) -> Option<()> {
        let Datum::Text(text) = datum else { return None };
        *self = (!text.is_empty()).then(|| PathBuf::from(text));
        Some(())
    }
    fn render(&self) -> String {
        quoted(&self.as_deref().unwrap_or(std::path::Path::new("")).to_string_lossy())
    }
}

/// A value that the host decides unless it is configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auto<T> {
    /// The host decides.
    Auto,
    /// The configuration decides.
    Set(T),
}

impl<T: Field + Default> Field for Auto<T> {
    fn expects(&self, bounds: &Bounds) -> String {
        format!("\"auto\" or {}", T::default().expects(bounds))
    }
    fn read(&mut self, datum: &Datum, bounds: &Bounds) -> Option<()> {
        *self = match datum {
            Datum::Text(text) if text == "auto" => Self::Auto,
            datum => {
                let mut value = T::default();
                value.read(datum, bounds)?;
                Self::Set(value)
            }
        };
        Some(())
    }
    fn render(&self) -> String {
        match self {
            Self::Auto => quoted("auto"),
            Self::Set(value) => value.render(),
        }
    }
}

/// Implements [`Field`] for an enum of words.
macro_rules! words {
    ($kind:ty { $($word:literal => $value:path,)+ }) => {
        impl $crate::config::Field for $kind {
            fn expects(&self, _: &$crate::config::Bounds) -> String {
                let words: &[&str] = &[$(concat!("\"", $word, "\"")),+];
                match words.split_last() {
                    Some((last, rest)) if !rest.is_empty() => {
                        format!("{} or {last}", rest.join(", "))
                    }
                    _ => words.concat(),
                }
            }
            fn read(
                &mut self,
                datum: &$crate::config::Datum,
                _: &$crate::config::Bounds,
            ) -> Option<()> {
                let $crate::config::Datum::Text(text) = datum else { return None };
                *self = match text.as_str() {
                    $($word => $value,)+
                    _ => return None,
                };
                Some(())
            }
            fn render(&self) -> String {
                match self { $($value => format!("\"{}\"", $word),)+ }
            }
        }
    };
}
pub(crate) use words;

/// A list of texts; one text may list several with commas, as the environment does.
pub(crate) fn texts(datum: &Datum) -> Option<Vec<String>> {
    match datum {
        Datum::Text(text) => {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            Some(parts.map(str::to_owned).collect())
        }
        Datum::List(items) => items
            .iter()
            .map(|item| match item {
                Datum::Text(text) => Some(text.trim().to_owned()),
                _ => None,
            })
            .collect(),
        _ => None,
    }
}

/// `text` as a TOML string.
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A TOML list of strings.
pub(crate) fn list(items: impl Iterator<Item = String>) -> String {
    let items: Vec<_> = items.map(|item| quoted(&item)).collect();
    format!("[{}]", items.join(", "))
}

/// `16MiB`, `512 KiB`, `2G`, `1048576`: powers of 1024, except with a final `B` alone (`2GB`).
fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kib" => 1 << 10,
        "m" | "mib" => 1 << 20,
        "g" | "gib" => 1 << 30,
        "t" | "tib" => 1 << 40,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "tb" => 1_000_000_000_000,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(scale)
}

/// `bytes` for people.
#[must_use]
pub fn human_bytes(bytes: u64) -> String {
    const UNITS: [(&str, u32); 3] = [("GiB", 30), ("MiB", 20), ("KiB", 10)];
    for (unit, shift) in UNITS {
        let one = 1_u64 << shift;
        if bytes >= one {
            let tenths = (u128::from(bytes) * 10 + u128::from(one / 2)) >> shift;
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{bytes} B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn byte_texts_scale() {
        for (text, value) in [
            ("1", Some(1)),
            ("16MiB", Some(16 << 20)),
            ("512 KiB", Some(512 << 10)),
            ("2G", Some(2 << 30)),
            ("2GB", Some(2_000_000_000)),
            ("MiB", None),
            ("1 parsec", None),
            ("99999999999T", None),
        ] {
            assert_eq!(parse_bytes(text), value, "{text}");
        }
    }

    #[test]
    fn bytes_are_shown_with_one_digit() {
        assert_eq!(human_bytes(900), "900 B");
        assert_eq!(human_bytes(1536), "1.5 KiB");
        assert_eq!(human_bytes(5 << 30), "5.0 GiB");
        assert_eq!(human_bytes(u64::MAX), "17179869184.0 GiB");
    }
}
