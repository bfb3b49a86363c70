//! `.env`: variables of a file beside the program's working directory, as the family reads them.
//!
//! Shape: lines `NAME=VALUE` or `export NAME=VALUE`; `#` begins a comment at the start of a line
//! or after a space; a value may stand in quotes, double ones know `\n`, `\t`, `\"` and `\\`.
//! Only names of the family's table and `GRANDSTAND_*` are taken: others may use the file, too.
//! Nothing in it replaces a variable of the real environment.
//! Limits: [`FILE_BYTES_MAX`].

use std::path::Path;

use crate::error::{Error, Place};

/// The file's name.
pub const DOTENV: &str = ".env";
const FILE_BYTES_MAX: u64 = 64 << 10;

/// The variables of `file`; none if there is no such file.
///
/// Errors: a file that cannot be read, and a line that is none.
pub fn dotenv(file: &Path) -> Result<Vec<(String, String)>, Error> {
    let mend = "remove it, or start elsewhere";
    let size = match std::fs::metadata(file) {
        Ok(data) if data.is_file() => data.len(),
        Ok(_) => return Ok(Vec::new()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
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
    parse(&text).map_err(|line| Error::Document {
        place: Place::Line { file: file.to_owned(), line },
        what: "expected NAME=VALUE".to_owned(),
        mend: "mend the line, or begin it with # to leave it out".to_owned(),
    })
}

/// The variables of `text`, or the first line that is none.
fn parse(text: &str) -> Result<Vec<(String, String)>, usize> {
    let mut variables = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (name, value) = line.split_once('=').ok_or(number + 1)?;
        let name = name.trim_end();
        let legal = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.';
        if name.is_empty() || !name.bytes().all(legal) {
            return Err(number + 1);
        }
        variables.push((name.to_owned(), value_of(value.trim()).ok_or(number + 1)?));
    }
    Ok(variables)
}

fn value_of(text: &str) -> Option<String> {
    let (inner, rest, doubled) = match text.chars().next() {
        Some('\'') => {
            let (inner, rest) = text[1..].split_once('\'')?;
            (inner.to_owned(), rest, false)
        }
        Some('"') => {
            let end = closing(&text[1..])?;
            (text[1..=end].to_owned(), &text[end + 2..], true)
        }
        _ => {
            let end = text.find(" #").unwrap_or(text.len());
            return Some(text[..end].trim_end().to_owned());
        }
    };
    let rest = rest.trim_start();
    let over = rest.is_empty() || rest.starts_with('#');
    over.then(|| if doubled { unescaped(&inner) } else { inner })
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
        assert_eq!(parse(text).unwrap(), expected);
    }

    #[test]
    fn a_line_that_is_no_variable_is_named() {
        for (text, line) in
            [("A=1\nB\n", 2), ("=1", 1), ("A B=1", 1), ("A='x", 1), ("A=\"x", 1), ("A='x'y", 1)]
        {
            assert_eq!(parse(text), Err(line), "{text}");
        }
    }

    #[test]
    fn no_file_is_no_variables() {
        assert_eq!(dotenv(Path::new("/nowhere/.env")).unwrap(), []);
    }
}
