//! The package: the same binary gives the same one, lintian finds no error, and in a clean root it
//! installs, serves a picture and goes without a trace.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::{file, output, read, tool};
use crate::server::Folder;

/// Builds the package of the program under test; its contents are not compressed, to be quick.
fn build(folder: &Path) -> PathBuf {
    let mut command = Command::new(file("debian/build"));
    command.arg(env!("CARGO_BIN_EXE_grandstand")).arg(folder);
    command.env("DEB_LEVEL", "0").env("SOURCE_DATE_EPOCH", "1700000000");
    PathBuf::from(output(&mut command).trim_end())
}

#[test]
fn it_is_sound_and_leaves_no_trace() {
    let (one, two) = (Folder::new(), Folder::new());
    let package = build(one.path());
    let again = build(two.path());
    let bytes = |path: &Path| std::fs::read(path).expect("it was built");
    assert!(bytes(&package) == bytes(&again), "two builds differ");
    let version = concat!("grandstand_", env!("CARGO_PKG_VERSION"), "_");
    assert!(package.file_name().is_some_and(|name| name.to_string_lossy().starts_with(version)));

    let mut lintian = Command::new("lintian");
    output(lintian.args(["--allow-root", "--fail-on", "error"]).arg(&package));

    let mut tried = Command::new(file("debian/try"));
    let said = output(tried.arg(&package).arg(tool("root.tar")));
    for line in [
        "Status: install ok installed",
        "640 root:grandstand",
        "700 grandstand",
        "600 grandstand",
        "h264,640",
        "aac",
        "/etc/grandstand/grandstand.toml: valid",
        "== done",
    ] {
        assert!(said.lines().any(|said| said == line), "{line}\n{said}");
    }
    assert!(said.contains("token in /var/lib/grandstand/api-token"), "{said}");
    let row = |line: &str| line.trim_start().starts_with("demo ");
    assert!(said.lines().any(row), "`top` shows the demo:\n{said}");
}

#[test]
fn the_manual_page_names_every_command_option_and_variable() {
    let mut help = Command::new(env!("CARGO_BIN_EXE_grandstand"));
    let help = output(help.arg("--help"));
    let page = read("debian/grandstand.1").replace("\\-", "-");
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let usage = help.split("usage:").nth(1).expect("a usage").split("Without").next();
    let words = usage.expect("more follows").split(|c| !is_part(c));
    for option in words.filter(|word| word.starts_with("--")) {
        assert!(page.contains(option), "{option} is not in the manual page");
    }
    for command in ["check", "config init", "key make", "key hash", "sign ", "probe ", "top "] {
        assert!(help.contains(&format!(" {}", command.trim_end())), "{command} is gone");
        assert!(page.contains(command), "{command} is not in the manual page");
    }
    let mut man = Command::new("man");
    man.args(["--warnings", "--local-file", "--pager=cat"]).arg(file("debian/grandstand.1"));
    assert!(output(&mut man).contains("live-media edge server"));
}
