//! Masking: values as anybody may see them, without the secrets that URLs in them hold, and
//! without the passphrases of streams.

use crate::registry::PASSPHRASE_FIELD;

/// Stands for what is not shown.
const MASK: &str = "***";

/// `text` with the values of every URL's query masked, and whoever stands before its host; and in
/// tables of streams the passphrases, of which a text may have lost the end.
///
/// Names of the query stay, so that a reader sees what is set.
pub(crate) fn masked(text: &str) -> String {
    let (mut shown, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find(PASSPHRASE_FIELD) {
        let (before, tail) = rest.split_at(at + PASSPHRASE_FIELD.len());
        shown.push_str(&without_secrets(before));
        rest = mask_values(tail, &mut shown);
    }
    shown + &without_secrets(rest)
}

/// What follows the name of the passphrases: its texts are masked, one or a table of them. Returns
/// what is behind them.
fn mask_values<'a>(text: &'a str, shown: &mut String) -> &'a str {
    // The name may be quoted.
    let mut rest = text.strip_prefix('"').unwrap_or(text);
    shown.push_str(&text[..text.len() - rest.len()]);
    let mut is_table = false;
    loop {
        let plain = rest.find(|c: char| !matches!(c, ' ' | '=' | ',') && !c.is_alphanumeric());
        let (between, tail) = rest.split_at(plain.unwrap_or(rest.len()));
        shown.push_str(between);
        let mut letters = tail.char_indices();
        match letters.next() {
            Some((_, '{')) if !is_table => {
                (is_table, rest) = (true, letters.as_str());
                shown.push('{');
            }
            Some((_, '"')) => {
                rest = behind_quotes(letters.as_str());
                // The name of a direction is one that a value follows.
                let is_name = is_table && rest.trim_start().starts_with('=');
                let whole = &tail[..tail.len() - rest.len()];
                shown.push_str(if is_name { whole } else { "\"***\"" });
                if !is_table {
                    return rest;
                }
            }
            _ => return tail,
        }
    }
}

/// What is behind the quotation mark that ends a text.
fn behind_quotes(text: &str) -> &str {
    let mut escaped = false;
    let end = text.char_indices().find(|(_, letter)| match letter {
        _ if escaped => {
            escaped = false;
            false
        }
        '\\' => {
            escaped = true;
            false
        }
        letter => *letter == '"',
    });
    end.map_or("", |(at, _)| &text[at + 1..])
}

/// `text` without what its URLs hold.
fn without_secrets(text: &str) -> String {
    let (mut shown, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find("://") {
        let (scheme, tail) = rest.split_at(at + "://".len());
        let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>');
        let (url, more) = tail.split_at(tail.find(ends).unwrap_or(tail.len()));
        shown.push_str(scheme);
        mask(url, &mut shown);
        rest = more;
    }
    shown + rest
}

/// A URL without its scheme.
fn mask(url: &str, shown: &mut String) {
    let (place, query) = url.split_once('?').map_or((url, None), |(a, b)| (a, Some(b)));
    let (authority, path) = place.split_at(place.find('/').unwrap_or(place.len()));
    match authority.rsplit_once('@') {
        Some((_, host)) => shown.extend([MASK, "@", host, path]),
        None => shown.push_str(place),
    }
    for (index, pair) in query.into_iter().flat_map(|query| query.split('&')).enumerate() {
        shown.push(if index == 0 { '?' } else { '&' });
        match pair.split_once('=') {
            Some((name, _)) => shown.extend([name, "=", MASK]),
            // It may be the secret itself.
            None if !pair.is_empty() => shown.push_str(MASK),
            None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passphrases_of_streams_are_masked_and_nothing_else() {
        for (text, shown) in [
            (r#"srt_passphrase = "se\"cr\\et\\" b"#, r#"srt_passphrase = "***" b"#),
            (
                r#"{ code = "a", "srt_passphrase" = "x{\"y", name = "n" }"#,
                r#"{ code = "a", "srt_passphrase" = "***", name = "n" }"#,
            ),
            (
                r#"srt_passphrase = { "play" = "x }\"=", publish = "=y" }, u = "http://h?k=v""#,
                r#"srt_passphrase = { "play" = "***", publish = "***" }, u = "http://h?k=***""#,
            ),
            (r#"srt_passphrase = "cut sh..."#, r#"srt_passphrase = "***""#),
            (r#"srt_passphrase = { play = "cut..."#, r#"srt_passphrase = { play = "***""#),
            (r#"a srt_passphrase"#, r#"a srt_passphrase"#),
            (
                r#"srt_passphrase = "a", srt_passphrase = "b""#,
                r#"srt_passphrase = "***", srt_passphrase = "***""#,
            ),
        ] {
            assert_eq!(masked(text), shown);
        }
    }

    #[test]
    fn queries_and_users_of_urls_are_masked_and_nothing_else() {
        for (text, shown) in [
            ("no url? a=b", "no url? a=b"),
            ("http://h/a", "http://h/a"),
            ("http://h/a?", "http://h/a?"),
            ("\"https://h:1/a?token=x&b=&c\"", "\"https://h:1/a?token=***&b=***&***\""),
            ("['rtmp://h/l?k=v=w', 'srt://h?p=q']", "['rtmp://h/l?k=***', 'srt://h?p=***']"),
            ("http://me:pw@h/a@b?c=d#e", "http://***@h/a@b?c=***"),
            ("http://pw@h", "http://***@h"),
            ("a://b?c=d e://f?g=h i", "a://b?c=*** e://f?g=*** i"),
        ] {
            assert_eq!(masked(text), shown);
        }
    }
}
