//! Form: fields as `application/x-www-form-urlencoded`.

use std::fmt::Write;

use codecs::http1::percent_decode;

/// Fields, written one after the other.
#[derive(Debug, Default)]
pub(super) struct Form {
    text: String,
    names: Vec<&'static str>,
}

impl Form {
    /// Adds a field.
    pub(super) fn field(&mut self, name: &'static str, value: &str) -> &mut Self {
        if !self.text.is_empty() {
            self.text.push('&');
        }
        self.text.push_str(name);
        self.text.push('=');
        for byte in value.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                    self.text.push(char::from(byte));
                }
                _ => write!(self.text, "%{byte:02X}").expect("a text grows"),
            }
        }
        self.names.push(name);
        self
    }

    /// Adds what a peer wrote behind its address, as it wrote it but for what some receivers take
    /// for the end of a pair (`;`), and what no address may have.
    ///
    /// A pair that would stand for a field of ours is left out: receivers differ in which of two
    /// they believe, and the peer's own is never the one that is true.
    pub(super) fn arguments(&mut self, query: &str) -> &mut Self {
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let name = pair.split('=').next().unwrap_or_default();
            let legal = pair.bytes().all(|byte| byte.is_ascii_graphic());
            if legal && !self.is_ours(name) {
                self.text.push('&');
                for byte in pair.bytes() {
                    match byte {
                        b';' | b'"' | b'<' | b'>' | b'#' => {
                            write!(self.text, "%{byte:02X}").expect("a text grows");
                        }
                        _ => self.text.push(char::from(byte)),
                    }
                }
            }
        }
        self
    }

    /// True if a receiver may take `name` for a field of ours, or it does not decode.
    fn is_ours(&self, name: &str) -> bool {
        let Ok(name) = percent_decode(&name.replace('+', " ")) else { return true };
        // PHP cuts names at a bracket and at a NUL, and forgets spaces before them.
        let bare = name.trim().split(['[', '\0']).next().unwrap_or_default().trim();
        self.names.iter().any(|ours| bare.eq_ignore_ascii_case(ours))
    }

    /// The whole.
    pub(super) fn text(&self) -> String {
        self.text.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_argument_of_a_peer_passes_for_a_field() {
        let mut form = Form::default();
        form.field("app", "l i\u{e9}/&=").field("name", "a");
        form.arguments("key=x%20y&name=b&NAME=b&n%61me=b&name[]=b&+name=b&name%00=b&%zz=1&a b=1");
        form.arguments("&&plain&x=a\r\nname: b&token=%26name=c&y=1;name=b&z=\"<#>");
        let expected = "app=l%20i%C3%A9%2F%26%3D&name=a&key=x%20y&plain&token=%26name=c\
                        &y=1%3Bname=b&z=%22%3C%23%3E";
        assert_eq!(form.text(), expected);
    }
}
