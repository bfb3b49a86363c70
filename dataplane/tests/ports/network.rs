//! A network of its own for a case: its process runs again in namespaces where it is root.

use std::process::Command;

use dataplane::config::Config;
use dataplane::reactor::BackendChoice;

/// Set in the process that runs in a network of its own.
const INSIDE: &str = "GRANDSTAND_TEST_NETWORK";

/// Runs `case` of this test, whose function is `run`, in a network of its own.
pub(crate) fn in_a_network(case: &str, config: Config, run: impl FnOnce(Config)) {
    if std::env::var_os(INSIDE).is_some() {
        tool("ip", "link set lo up");
        run(config);
        return;
    }
    let backend = match config.reactor.choice {
        BackendChoice::Epoll => "epoll",
        _ => "io_uring",
    };
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--net"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("{case}::{backend}"), "--nocapture"])
        .env(INSIDE, "1")
        .output()
        .expect("util-linux is installed");
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let passed = output.status.success() && said.contains("1 passed");
    assert!(passed, "{said}\n{errors}");
}

/// Datagrams that leave `port` take no more than so much of the way, and lie on it as long as they
/// must; others are not kept.
pub(crate) fn narrow(port: u16, rate: &str) {
    for line in [
        "qdisc add dev lo root handle 1: htb default 1".to_owned(),
        "class add dev lo parent 1: classid 1:1 htb rate 40gbit".to_owned(),
        format!("class add dev lo parent 1: classid 1:2 htb rate {rate} burst 256kb"),
        "qdisc add dev lo parent 1:2 pfifo limit 100000".to_owned(),
        format!(
            "filter add dev lo parent 1: protocol ip u32 match ip protocol 17 0xff \
             match ip sport {port} 0xffff flowid 1:2"
        ),
    ] {
        tool("tc", &line);
    }
}

/// Runs a program with these words.
pub(crate) fn tool(name: &str, line: &str) {
    let output = Command::new(name).args(line.split_whitespace()).output();
    let output = output.unwrap_or_else(|error| panic!("iproute2 is not installed: {error}"));
    assert!(output.status.success(), "{name} {line}: {output:?}");
}
