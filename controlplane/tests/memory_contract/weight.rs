//! What the server weighs: as the kernel tells it, and as `check` promises it.

use std::fs;
use std::process::Command;

/// Bytes of a line of `/proc/PID/status`.
pub(crate) fn status_bytes(pid: u32, key: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).expect("the server runs");
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let kib = line.and_then(|value| value.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kib.unwrap_or_else(|| panic!("no {key} in:\n{text}")) << 10
}

/// The table that `check` prints.
pub(crate) struct Table(String);

impl Table {
    /// Runs `check` with the same configuration as `serve`.
    pub(crate) fn print(serve: &Command) -> Self {
        let mut check = Command::new(serve.get_program());
        check.args(serve.get_args()).arg("check");
        for (key, value) in serve.get_envs() {
            check.env(key, value.expect("the test only sets variables"));
        }
        let output = check.output().expect("the binary runs");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Self(String::from_utf8(output.stdout).expect("the table is text"))
    }

    /// The line that begins with `words` and has `word` in it.
    fn line(&self, begins: &str, has: &str) -> &str {
        let found = self.0.lines().find(|line| line.starts_with(begins) && line.contains(has));
        found.unwrap_or_else(|| panic!("no {begins} in:\n{}", self.0))
    }

    /// The ceiling of the process.
    pub(crate) fn ceiling(&self) -> u64 {
        let line = self.line("process", "of limits.memory_max");
        bytes(line.trim_start_matches("process").split("of").next().expect("a total"))
    }

    /// One unit of a term.
    pub(crate) fn unit(&self, pool: &str) -> u64 {
        self.term(pool).0
    }

    /// All units of a term.
    pub(crate) fn total(&self, pool: &str) -> u64 {
        let (unit, count) = self.term(pool);
        unit * count
    }

    /// Unit and count of a term.
    fn term(&self, pool: &str) -> (u64, u64) {
        let rest = self.line(&format!("{pool}  "), "iB").trim_start_matches(pool);
        let words: Vec<_> = rest.split_whitespace().take(3).collect();
        let [number, unit, count] = words[..] else { panic!("no term in `{rest}`") };
        (bytes(&format!("{number} {unit}")), count.parse().expect("a count"))
    }
}

/// `64.0 KiB`, as people read it.
fn bytes(text: &str) -> u64 {
    let (number, unit) = text.trim().split_once(' ').expect("a number and a unit");
    let shift = match unit.trim() {
        "B" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        other => panic!("{other} in `{text}`"),
    };
    let number: f64 = number.parse().expect("a number");
    (number * f64::from(1_u32 << shift)).round() as u64
}
