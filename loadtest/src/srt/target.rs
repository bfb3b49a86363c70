//! What an SRT URL says of the connection.

use anyhow::{Context, Result, bail, ensure};
use codecs::srt::{KeyLength, Passphrase, STREAM_ID_BYTES_MAX};

/// The latency unless told, as that of libsrt.
const LATENCY_MS_DEFAULT: u16 = 120;

/// What begins a stream id of the access control guidelines.
const GUIDELINES: &str = "#!::";

/// Words before the name in a stream id.
const MODES: [&str; 3] = ["publish:", "read:", "request:"];

/// What an SRT URL says of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SrtTarget {
    /// The stream id, which may hold a secret.
    pub stream_id: String,
    /// The passphrase; in the clear without.
    pub passphrase: Option<Passphrase>,
    /// The length of the key.
    pub key_length: KeyLength,
    /// The latency that is asked for.
    pub latency_ms: u16,
}

impl SrtTarget {
    /// Reads a query without its `?`: `streamid`, `passphrase`, `pbkeylen` (bytes) and `latency`
    /// (milliseconds); `mode=caller` and `transtype=live` say what is done anyway.
    ///
    /// # Errors
    /// In one line that tells no secret, if it says something else or names no stream.
    pub fn parse(query: &str) -> Result<Self> {
        let mut target = Self {
            stream_id: String::new(),
            passphrase: None,
            key_length: KeyLength::Aes128,
            latency_ms: LATENCY_MS_DEFAULT,
        };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = decode(value).with_context(|| format!("{key}= is no text"))?;
            target.set(key, &value)?;
        }
        ensure!(!target.stream_id.is_empty(), "an SRT URL names its stream by ?streamid=");
        Ok(target)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<()> {
        match key {
            "streamid" => {
                ensure!(
                    value.len() <= STREAM_ID_BYTES_MAX,
                    "streamid= is longer than {STREAM_ID_BYTES_MAX} bytes"
                );
                value.clone_into(&mut self.stream_id);
            }
            "passphrase" => {
                let passphrase = Passphrase::new(value.as_bytes());
                let passphrase = passphrase.ok().context("passphrase= has 10 to 80 bytes")?;
                self.passphrase = Some(passphrase);
            }
            "pbkeylen" => {
                let length = value.parse().ok().and_then(KeyLength::from_bytes);
                self.key_length = length.context("pbkeylen= is 16, 24 or 32")?;
            }
            "latency" => {
                self.latency_ms = value.parse().ok().context("latency= is 0 to 65535 ms")?;
            }
            "mode" => ensure!(value == "caller", "mode={value}: only caller is spoken"),
            "transtype" => ensure!(value == "live", "transtype={value}: only live is spoken"),
            _ => bail!("{key}= is not known: there are streamid, passphrase, pbkeylen and latency"),
        }
        Ok(())
    }

    /// The stream's name in its id, without what may be secret.
    #[must_use]
    pub fn name(&self) -> &str {
        let (start, end) = self.name_range();
        &self.stream_id[start..end]
    }

    /// The same connection for stream `NAME-index`.
    #[must_use]
    pub fn nth(&self, index: usize) -> Self {
        let (_, end) = self.name_range();
        let (before, behind) = self.stream_id.split_at(end);
        Self { stream_id: format!("{before}-{index}{behind}"), ..self.clone() }
    }

    /// Where the name stands: behind `r=` of the guidelines' form, else in front of a query and of
    /// what follows a mode and a colon.
    fn name_range(&self) -> (usize, usize) {
        let id = self.stream_id.as_str();
        if let Some(fields) = id.strip_prefix(GUIDELINES) {
            let mut start = GUIDELINES.len();
            for field in fields.split(',') {
                if field.starts_with("r=") {
                    return (start + 2, start + field.len());
                }
                start += field.len() + 1;
            }
            return (id.len(), id.len());
        }
        let mode = MODES.iter().find(|mode| id.starts_with(**mode)).map_or(0, |mode| mode.len());
        let len = match mode {
            0 => id.find('?'),
            _ => id[mode..].find([':', '?']),
        };
        (mode, len.map_or(id.len(), |len| mode + len))
    }
}

/// Takes `%XX` apart.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, behind)) = rest.split_first() {
        rest = behind;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let (digits, behind) = rest.split_first_chunk::<2>()?;
        let digits = std::str::from_utf8(digits).ok()?;
        // A sign is no digit, though a number may have one.
        bytes.push(u8::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))?);
        rest = behind;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_say_what_the_connection_is() {
        let target = SrtTarget::parse("streamid=live/a").unwrap();
        assert_eq!((target.latency_ms, target.passphrase.as_ref()), (120, None));
        let text = "mode=caller&streamid=%23!::r=live/a,m=publish&passphrase=ten%20letters\
                    &pbkeylen=32&latency=400&transtype=live";
        let target = SrtTarget::parse(text).unwrap();
        assert_eq!(target.stream_id, "#!::r=live/a,m=publish");
        assert_eq!(target.passphrase, Passphrase::new(b"ten letters").ok());
        assert_eq!((target.key_length, target.latency_ms), (KeyLength::Aes256, 400));
        for (text, said) in [
            ("", "names its stream"),
            ("latency=1", "names its stream"),
            ("streamid=a&latency=-1", "latency= is 0"),
            ("streamid=a&latency=65536", "latency= is 0"),
            ("streamid=a&pbkeylen=17", "pbkeylen= is 16"),
            ("streamid=a&passphrase=short", "passphrase= has"),
            ("streamid=a&mode=listener", "mode=listener"),
            ("streamid=a&latence=3", "latence= is not known"),
            ("streamid=%2", "streamid= is no text"),
            ("streamid=%ff", "streamid= is no text"),
            ("streamid=%+1", "streamid= is no text"),
        ] {
            let error = format!("{:#}", SrtTarget::parse(text).unwrap_err());
            assert!(error.contains(said) && !error.contains("short"), "{text}: {error}");
        }
        assert!(!format!("{target:?}").contains("ten letters"));
    }

    #[test]
    fn the_name_is_numbered_wherever_it_stands() {
        let table = [
            ("live/a", "live/a", "live/a-7"),
            ("live/a?key=x:y", "live/a", "live/a-7?key=x:y"),
            ("publish:live/a", "live/a", "publish:live/a-7"),
            ("publish:live/a:me:secret", "live/a", "publish:live/a-7:me:secret"),
            ("read:live/a?key=1", "live/a", "read:live/a-7?key=1"),
            ("#!::m=publish,r=live/a,u=me", "live/a", "#!::m=publish,r=live/a-7,u=me"),
            ("#!::u=me", "", "#!::u=me-7"),
        ];
        for (id, name, numbered) in table {
            let target =
                SrtTarget { stream_id: id.to_owned(), ..SrtTarget::parse("streamid=x").unwrap() };
            assert_eq!((target.name(), &*target.nth(7).stream_id), (name, numbered), "{id}");
        }
    }
}
