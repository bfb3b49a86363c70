//! `.env`: variables of a file beside the program's working directory, as the family reads them.
//!
//! Shape: lines `NAME=VALUE` or `export NAME=VALUE`; `#` begins a comment at the start of a line
//! or after a space; a value may stand in quotes, double ones know `\n`, `\t`, `\"` and `\\`, and
//! run over lines.
//! Only names of the family's table and `GRANDSTAND_*` are taken: others may use the file, too, and
//! what they write in it is left out if it is of another form, with a warning.
//! Nothing in it replaces a variable of the real environment.
//! Limits: [`FILE_BYTES_MAX`].

use std::path::Path;

use super::super::reader::PREFIX;
use super::table::VARIABLES;
use crate::error::{Error, Place};

/// The file's name.
pub const DOTENV: &str = ".env";
const FILE_BYTES_MAX: u64 = 64 << 10;

/// What `.env` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dotenv {
    /// Its variables.
    pub variables: Vec<(String, String)>,
    /// What was left out of it.
    pub warnings: Vec<String>,
}

/// What `file` says; nothing if there is no such file.
///
/// Errors: a file that cannot be read, and a line of ours that is no variable.
pub fn dotenv(file: &Path) -> Result<Dotenv, Error> {
    let mend = "remove it, or start elsewhere";
    let size = match std::fs::metadata(file) {
        Ok(data) if data.is_file() => data.len(),
        Ok(_) => return Ok(Dotenv::default()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Dotenv::default()),
        Err(error) => return Err(Error::file("read", file, &error, mend)),
    };
    if size > FILE_BYTES_MAX {
        return Err(Error::Document {
            place: Place::File(file.to_owned()),
            what: format!("{size} bytes are more than variables can need"),
            mend: mend.to_owned(),
        });
    }
    let text = std::fs::read_to_string(file).map_err(|e| Error::file("read", file, &e, mend))?;
    let Parsed { variables, left_out } = parse(&text).map_err(|line| Error::Document {
        place: Place::Line { file: file.to_owned(), line },
        what: "expected NAME=VALUE".to_owned(),
        mend: "mend the line, or begin it with # to leave it out".to_owned(),
    })?;
    let warning = left_out.first().map(|first| {
        let others = match left_out.len() - 1 {
            0 => String::new(),
            others => format!(", and {others} more"),
        };
        let file = file.display();
        format!(
            "{file}:{first}{others}: no NAME=VALUE, and left out; begin it with # if it is nobody's"
        )
    });
    Ok(Dotenv { variables, warnings: warning.into_iter().collect() })
}

/// A name and its value.
type Variable = (String, String);

/// What a text says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Parsed {
    variables: Vec<Variable>,
    /// The lines of others that are no variables.
    left_out: Vec<usize>,
}

/// The variables of `text`, or the first line of ours that is none.
fn parse(text: &str) -> Result<Parsed, usize> {
    let (mut parsed, mut rest, mut number) = (Parsed::default(), text, 1);
    while !rest.is_empty() {
        let taken = match entry(rest) {
            Ok((variable, taken)) => {
                parsed.variables.extend(variable);
                taken
            }
            Err(name) if is_ours(name) => return Err(number),
            Err(_) => {
                parsed.left_out.push(number);
                line_of(rest).len()
            }
        };
        number += rest[..taken].matches('\n').count() + 1;
        rest = rest.get(taken + 1..).unwrap_or_default();
    }
    Ok(parsed)
}

/// True for a name that this program reads.
fn is_ours(name: &str) -> bool {
    name.starts_with(PREFIX) || VARIABLES.iter().any(|variable| variable.name == name)
}

/// The first line of `text`, without its end.
fn line_of(text: &str) -> &str {
    text.split_once('\n').map_or(text, |(line, _)| line)
}

/// The variable that `text` begins with, unless that is a line without one; and the letters that it
/// takes, up to the end of its last line.
///
/// Errors: it is none, of this name if it has one.
fn entry(text: &str) -> Result<(Option<Variable>, usize), &str> {
    let line = line_of(text);
    let bare = line.trim();
    if bare.is_empty() || bare.starts_with('#') {
        return Ok((None, line.len()));
    }
    let (name, _) = line.split_once('=').ok_or("")?;
    let after = name.len() + 1;
    let name = name.trim();
    let name = name.strip_prefix("export ").map_or(name, str::trim_start);
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.';
    if name.is_empty() || !name.bytes().all(legal) {
        return Err(name);
    }
    let value = text[after..].trim_start_matches([' ', '\t']);
    let before = text.len() - value.len();
    let (value, taken) = value_of(value).ok_or(name)?;
    Ok((Some((name.to_owned(), value)), before + taken))
}

/// The value that `text` begins with, and the letters up to the end of its last line.
fn value_of(text: &str) -> Option<(String, usize)> {
    let line = line_of(text);
    let (value, end) = match text.chars().next() {
        Some('\'') => {
            let (inner, _) = line[1..].split_once('\'')?;
            (inner.to_owned(), inner.len() + 2)
        }
        Some('"') => {
            let end = closing(&text[1..])?;
            (unescaped(&text[1..=end]), end + 2)
        }
        _ => {
            let end = line.find(" #").unwrap_or(line.len());
            return Some((line[..end].trim_end().to_owned(), line.len()));
        }
    };
    let rest = line_of(&text[end..]);
    let behind = rest.trim();
    (behind.is_empty() || behind.starts_with('#')).then(|| (value, end + rest.len()))
}

/// Where the double quote is that ends `text`.
fn closing(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(at, letter)| {
        let end = letter == '"' && !escaped;
        escaped = letter == '\\' && !escaped;
        end.then_some(at)
    })
}

fn unescaped(text: &str) -> String {
    let mut letters = text.chars();
    let mut out = String::with_capacity(text.len());
    while let Some(letter) = letters.next() {
        out.push(match letter {
            '\\' => match letters.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some(other) => other,
                None => '\\',
            },
            other => other,
        });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_plain_or_quoted() {
        let text = "# a comment\n\nA=1\n B = two words # said\nexport C='it # is'\nD=\"a \\\"b\\\" \
                    \\\\ c\" # x\nE=\nF=a#b\nG=\"\"\n";
        let expected = [
            ("A", "1"),
            ("B", "two words"),
            ("C", "it # is"),
            ("D", "a \"b\" \\ c"),
            ("E", ""),
            ("F", "a#b"),
            ("G", ""),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(parse(text), Ok(Parsed { variables: expected.into(), left_out: vec![] }));
        assert_eq!(parse(&text.replace('\n', "\r\n")), parse(text));
    }

    #[test]
    fn a_line_of_ours_that_is_no_variable_is_named() {
        for (text, line) in [
            ("A=1\nRTMP_PORT='x", 2),
            ("RTMP_PORT=\"x", 1),
            ("A=\"1\n2\"\nexport RTMP_PORT='x'y", 3),
            ("GRANDSTAND_LOG__LEVEL=\"x\"y", 1),
        ] {
            assert_eq!(parse(text), Err(line), "{text}");
        }
    }

    #[test]
    fn what_others_write_into_the_file_is_theirs() {
        let ours = ("RTMP_PORT".to_owned(), "1936".to_owned());
        let key = "-----BEGIN KEY-----\nMIIB==\n\n# a=b\n-----END KEY-----\n";
        let text = format!("KEY=\"{key}\" # theirs\nRTMP_PORT=1936\n");
        let theirs = ("KEY".to_owned(), key.to_owned());
        assert_eq!(parse(&text).unwrap().variables, [theirs, ours.clone()]);
        for (theirs, left_out) in [
            ("X='a'b", vec![1]),
            ("A B=1\n=1\nB", vec![1, 2, 3]),
            ("KEY=\"-----BEGIN\nMIIB+/\n-----END", vec![1, 2, 3]),
        ] {
            let parsed = parse(&format!("{theirs}\nRTMP_PORT=\"1936\"\n")).unwrap();
            assert_eq!(parsed.variables, std::slice::from_ref(&ours), "{theirs}");
            assert_eq!(parsed.left_out, left_out, "{theirs}");
        }
    }

    #[test]
    fn what_is_left_out_is_warned_of_and_not_shown() {
        let file = std::env::temp_dir().join(format!("grandstand-env-{}", std::process::id()));
        std::fs::write(&file, "A=1\nX='hunter'2\nY='b'c\n").unwrap();
        let read = dotenv(&file).unwrap();
        std::fs::remove_file(&file).unwrap();
        let [warning] = &read.warnings[..] else { panic!("{:?}", read.warnings) };
        assert!(warning.contains(":2, and 1 more: no NAME=VALUE"), "{warning}");
        assert!(!warning.contains("hunter"), "{warning}");
    }

    #[test]
    fn no_file_is_no_variables() {
        assert_eq!(dotenv(Path::new("/nowhere/.env")).unwrap(), Dotenv::default());
    }
}
