//! Every text file of the checkout, without what builds and tests leave there.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders that are never part of the repository.
const SKIPPED: [&str; 6] =
    [".git", ".tools", "target", "node_modules", "grandstand-data", "corpus"];

/// One text file.
pub(crate) struct TextFile {
    /// Its path from the root of the checkout, with `/`.
    pub(crate) path: String,
    /// Its lines.
    pub(crate) lines: Vec<String>,
}

/// The checkout.
pub(crate) struct Checkout {
    /// Where it is.
    pub(crate) root: PathBuf,
    /// Its text files, sorted by path.
    pub(crate) files: Vec<TextFile>,
}

impl Checkout {
    /// Reads the checkout that this test is run for: where it was built may be gone since.
    pub(crate) fn read() -> Self {
        let crate_dir = std::env::var_os("CARGO_MANIFEST_DIR");
        let crate_dir = crate_dir.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let root = Path::new(&crate_dir).join("..");
        let root = root.canonicalize().expect("the crate lies in the checkout");
        let mut files = Vec::new();
        walk(&root, &root, &mut files);
        files.sort_by(|a: &TextFile, b| a.path.cmp(&b.path));
        assert!(files.len() > 20, "the checkout was not found at {}", root.display());
        Self { root, files }
    }

    /// Files in Rust.
    pub(crate) fn rust(&self) -> impl Iterator<Item = &TextFile> {
        self.files.iter().filter(|file| file.path.ends_with(".rs"))
    }
}

impl TextFile {
    /// The lines before an inline test module, with their numbers from 1.
    pub(crate) fn product_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let tests = self.lines.windows(2).position(|pair| {
            pair[0].trim() == "#[cfg(test)]" && pair[1].trim_start().starts_with("mod tests {")
        });
        let end = tests.unwrap_or(self.lines.len());
        self.lines[..end].iter().enumerate().map(|(at, line)| (at + 1, line.as_str()))
    }

    /// The same without comments and blank lines; what stands after `//` is cut off.
    pub(crate) fn code_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.product_lines().filter_map(|(number, line)| {
            let code = without_comment(line);
            (!code.trim().is_empty()).then_some((number, code))
        })
    }
}

/// Cuts a line at `//` outside a string literal.
fn without_comment(line: &str) -> &str {
    let bytes = line.as_bytes();
    let mut in_string = false;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' if in_string => at += 1,
            b'"' if at == 0 || bytes[at - 1] != b'\'' => in_string = !in_string,
            b'/' if !in_string && bytes.get(at + 1) == Some(&b'/') => return &line[..at],
            _ => {}
        }
        at += 1;
    }
    line
}

fn walk(root: &Path, folder: &Path, files: &mut Vec<TextFile>) {
    for entry in fs::read_dir(folder).expect("a folder of the checkout is readable") {
        let entry = entry.expect("an entry of the checkout is readable");
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = entry.path();
        let kind = entry.file_type().expect("an entry has a type");
        if SKIPPED.contains(&name.as_str()) {
            continue;
        }
        if kind.is_dir() {
            walk(root, &path, files);
            continue;
        }
        let bytes = fs::read(&path).unwrap_or_default();
        let Ok(text) = String::from_utf8(bytes) else { continue };
        if text.contains('\0') {
            continue;
        }
        let inside = path.strip_prefix(root).expect("the walk stays inside");
        let lines = text.lines().map(str::to_owned).collect();
        files.push(TextFile { path: inside.to_string_lossy().replace('\\', "/"), lines });
    }
}
