//! Imports point one way, between crates and inside the data plane; unsafe code has its places.

use super::{Checkout, TextFile};

/// Crate, package name, and the crates of ours that it may import.
const CRATES: [(&str, &str, &[&str]); 5] = [
    ("codecs", "grandstand-codecs", &[]),
    ("dataplane", "grandstand-dataplane", &["codecs"]),
    ("controlplane", "grandstand", &["codecs", "dataplane"]),
    ("loadtest", "grandstand-loadtest", &["codecs"]),
    ("benches", "grandstand-benches", &["codecs", "dataplane", "loadtest"]),
];

/// Third-party crates and the crates of ours that may depend on them.
const PLACED: [(&str, &[&str]); 6] = [
    ("tokio", &["controlplane", "loadtest"]),
    ("axum", &["controlplane"]),
    ("serde", &["controlplane", "loadtest"]),
    ("serde_json", &["controlplane", "loadtest"]),
    ("io-uring", &["dataplane", "loadtest"]),
    ("libc", &["dataplane", "loadtest"]),
];

/// Modules of the data plane that know neither sockets nor shards.
const SANS_IO: [&str; 5] = ["session", "hub", "log", "package", "segment"];

/// Where unsafe code, libc and io_uring may be written.
const UNSAFE: [&str; 5] = [
    "dataplane/src/reactor/",
    "dataplane/src/shard/",
    "dataplane/src/slab/",
    "dataplane/src/log/",
    "loadtest/src/socket",
];

/// Dependencies that the arrows forbid.
pub(crate) fn between_crates(checkout: &Checkout) -> Vec<String> {
    let mut found = Vec::new();
    for (folder, _, allowed) in CRATES {
        let manifest = format!("{folder}/Cargo.toml");
        let Some(file) = checkout.files.iter().find(|file| file.path == manifest) else {
            found.push(format!("{manifest}: missing"));
            continue;
        };
        for (number, section, name) in dependencies(file) {
            let in_tests = section.contains("dev-dependencies");
            // An independent peer is what a server is tested with.
            if (folder, in_tests) == ("controlplane", true) && name == "loadtest" {
                continue;
            }
            let ours =
                CRATES.iter().find(|(crate_, package, _)| name == *crate_ || name == *package);
            if ours.is_some_and(|(crate_, ..)| !allowed.contains(crate_)) {
                found.push(format!("{manifest}:{number}: {folder} must not import {name}"));
            }
            let placed = PLACED.iter().find(|(crate_, _)| *crate_ == name);
            if placed.is_some_and(|(_, places)| !places.contains(&folder)) && !in_tests {
                found.push(format!("{manifest}:{number}: {name} has no place in {folder}"));
            }
        }
    }
    found
}

/// Line, section and name of every dependency in a manifest.
fn dependencies(file: &TextFile) -> Vec<(usize, &str, &str)> {
    let mut section = "";
    let mut found = Vec::new();
    for (at, line) in file.lines.iter().enumerate() {
        let line = line.trim();
        if line.starts_with('[') {
            section = line;
            continue;
        }
        let Some((key, _)) = line.split_once('=') else { continue };
        if section.ends_with("dependencies]") && !line.starts_with('#') {
            let name = key.trim().split('.').next().unwrap_or_default();
            found.push((at + 1, section, name));
        }
    }
    found
}

/// Imports of `reactor` or `shard` from modules that must not know them.
pub(crate) fn inside_dataplane(checkout: &Checkout) -> Vec<String> {
    let mut found = Vec::new();
    for file in checkout.rust() {
        let inside = SANS_IO.iter().any(|module| {
            file.path.starts_with(&format!("dataplane/src/{module}/"))
                || file.path == format!("dataplane/src/{module}.rs")
        });
        for (number, line) in file.code_lines().filter(|_| inside) {
            for wired in ["crate::reactor", "crate::shard", "crate::node"] {
                if line.contains(wired) {
                    found.push(format!("{}:{number}: must not know {wired}", file.path));
                }
            }
        }
    }
    found
}

/// `unsafe`, `libc` and `io_uring` outside their places.
pub(crate) fn unsafe_code(checkout: &Checkout) -> Vec<String> {
    let mut found = Vec::new();
    let product = checkout.rust().filter(|file| file.path.contains("/src/"));
    for file in product.filter(|file| !UNSAFE.iter().any(|place| file.path.starts_with(place))) {
        for (number, line) in file.code_lines() {
            let blocks = ["unsafe {", "unsafe fn", "unsafe impl", "libc::", "io_uring::"];
            if let Some(what) = blocks.iter().find(|what| line.contains(**what)) {
                found.push(format!("{}:{number}: `{what}` outside its places", file.path));
            }
        }
    }
    found
}
