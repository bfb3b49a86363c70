//! Masking: values as anybody may see them, without the secrets that URLs in them hold.

/// Stands for what is not shown.
const MASK: &str = "***";

/// `text` with the values of every URL's query masked, and whoever stands before its host.
///
/// Names of the query stay, so that a reader sees what is set.
pub(crate) fn masked(text: &str) -> String {
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
