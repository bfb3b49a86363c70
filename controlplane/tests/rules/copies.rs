//! Every place where the data plane copies payload, each with its reason.
//!
//! A call that copies bytes carries a comment in the lines before it: `COPY(name): why`, with a
//! name of the table below, or `CONTROL: what` where the bytes are no media.

use super::{Checkout, TextFile};

/// The copies that a byte of media may meet, in the order of its way.
const COPIES: [(&str, &str); 13] = [
    ("move", "the newest GOP, and a message in hand, when a stream moves to another shard"),
    ("ingest", "receive buffer to slab page, once per access unit"),
    ("prefix", "the first bytes of a message, to parse a tag header that spans pages"),
    ("nal-length", "length fields of 1 or 2 bytes are widened to 4"),
    ("aggregate", "sub-messages of an aggregate message, a rare form"),
    ("config", "decoder configurations, once per change"),
    ("script", "metadata and other script data"),
    ("package", "access unit to packaged log, once per format, not per player"),
    ("reorder", "packets of SRT that came before their turn, until it comes"),
    ("handover", "bytes that were read before a session moved to its home shard"),
    ("demo", "the built-in clip, as a publisher would"),
    ("encrypt", "payload of SRT that is encrypted for one player"),
    ("tls", "plain text in and out of the cipher"),
];

const FOLDERS: [&str; 7] = ["session", "hub", "log", "package", "slab", "shard", "reactor"];

const CALLS: [&str; 8] = [
    ".copy_from_slice(",
    ".clone_from_slice(",
    ".extend_from_slice(",
    ".copy_within(",
    "copy_nonoverlapping(",
    "ptr::copy(",
    ".to_vec()",
    ".to_owned_bytes(",
];

/// Copies without a mark, and marks that the table does not know.
pub(crate) fn breaches(checkout: &Checkout) -> Vec<String> {
    let in_folder = |file: &&TextFile| {
        FOLDERS.iter().any(|name| file.path.starts_with(&format!("dataplane/src/{name}/")))
    };
    checkout.rust().filter(in_folder).flat_map(breaches_of).collect()
}

fn breaches_of(file: &TextFile) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in file.code_lines() {
        let Some(call) = CALLS.iter().find(|call| line.contains(**call)) else { continue };
        let problem = match mark(file, number) {
            None => format!("`{call}` without COPY(name) or CONTROL"),
            Some(Mark::Control) => continue,
            Some(Mark::Copy(name)) if COPIES.iter().any(|(known, _)| *known == name) => continue,
            Some(Mark::Copy(name)) => format!("COPY({name}) is not in the table"),
        };
        found.push(format!("{}:{number}: {problem}", file.path));
    }
    found
}

enum Mark {
    Copy(String),
    Control,
}

/// The mark in the comments right before the statement of line `number`, or on the line itself.
fn mark(file: &TextFile, number: usize) -> Option<Mark> {
    let mut before = number - 1;
    let statement_goes_on = |line: &str| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with("//") && !line.ends_with([';', '{', '}', ','])
    };
    while before > 0 && statement_goes_on(&file.lines[before - 1]) {
        before -= 1;
    }
    let mut comments = vec![file.lines[number - 1].as_str()];
    while before > 0 && file.lines[before - 1].trim().starts_with("//") {
        before -= 1;
        comments.push(&file.lines[before]);
    }
    comments.iter().find_map(|line| mark_of(line))
}

fn mark_of(line: &str) -> Option<Mark> {
    let (_, comment) = line.split_once("//")?;
    if let Some((_, what)) = comment.split_once("CONTROL:") {
        return (!what.trim().is_empty()).then_some(Mark::Control);
    }
    let (_, rest) = comment.split_once("COPY(")?;
    let (name, why) = rest.split_once("):")?;
    (!why.trim().is_empty()).then(|| Mark::Copy(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> TextFile {
        TextFile { path: "x.rs".into(), lines: text.lines().map(str::to_owned).collect() }
    }

    #[test]
    fn a_mark_counts_on_the_statement_it_precedes() {
        assert!(
            breaches_of(&file("// COPY(package): framed once.\nout.extend_from_slice(x);"))
                .is_empty()
        );
        assert!(breaches_of(&file("// CONTROL: a reply.\nlet a =\n    b.to_vec();")).is_empty());
        assert_eq!(breaches_of(&file("out.extend_from_slice(x);")).len(), 1);
        assert_eq!(breaches_of(&file("// COPY(whim): no.\nout.extend_from_slice(x);")).len(), 1);
        assert_eq!(breaches_of(&file("// COPY(package):\nout.extend_from_slice(x);")).len(), 1);
        assert_eq!(breaches_of(&file("// CONTROL: a.\nlet b = 1;\nc.to_vec();")).len(), 1);
    }
}
