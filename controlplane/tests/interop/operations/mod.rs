//! What operators get beside the program, judged by the programs that will read it and by a real
//! server: dashboard, alerts, the service's unit, the package.

mod alerts;
mod busy;
mod dashboard;
mod expression;
mod package;
mod series;
mod unit;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A file of the folder `operations`.
fn file(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("operations").join(name);
    path.canonicalize().unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn read(name: &str) -> String {
    std::fs::read_to_string(file(name)).expect("the file is text")
}

/// A program that `.ci/setup` put into `.tools`.
fn tool(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools").join(name);
    path.canonicalize().unwrap_or_else(|_| panic!("no {name}: run .ci/setup"))
}

/// The standard output of a command that must succeed.
fn output(command: &mut Command) -> String {
    let name = command.get_program().to_string_lossy().into_owned();
    let Output { status, stdout, stderr } =
        command.output().unwrap_or_else(|error| panic!("{name}: {error}: run .ci/setup"));
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{name}: {status}\n{stdout}{stderr}");
    stdout.into_owned()
}
