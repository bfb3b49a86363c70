//! What the program says when it cannot do what it is told: one line, and how it ends.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::net::{TcpListener, UdpSocket};
use std::process::{Command, Output};

/// Not followed.
const USAGE: i32 = 2;
/// Failed.
const FAILURE: i32 = 1;

fn run(line: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_grandstand-load"));
    command.args(line.split_whitespace()).output().unwrap()
}

/// The line that it says, after it has ended so.
fn complaint(line: &str, code: i32) -> String {
    let output = run(line);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{line}: {said}");
    assert_eq!((said.lines().count(), output.stdout), (1, Vec::new()), "{line}: {said}");
    said.trim_end().strip_prefix("grandstand-load: ").unwrap().to_owned()
}

#[test]
fn bad_arguments_are_one_clear_line() {
    let table = [
        ("sing", "unknown command sing; try --help"),
        ("play", "play needs --url"),
        ("play --url rtmp://h/live/a --bitrate 1M", "play has no option --bitrate; try --help"),
        ("play --url rist://h/a", "--url: cannot speak rist://"),
        ("play --url srt://h/a", "--url: an SRT URL names its stream by ?streamid="),
        ("play --url srt://h?streamid=a&passphrase=short", "--url: passphrase= has 10 to 80 bytes"),
        ("play --url srt://h?streamid=a&latence=1", "--url: latence= is not known: there are"),
        ("fanout --url srt://h?streamid=a", "srt://h?streamid=a is only played: it needs --pub"),
        ("slow --url srt://h?streamid=a --no-publish", "no player of SRT can be slow"),
        ("play --url rtmp://h/live/a --players 1,2", "play takes one number of players"),
        ("play --url rtmp://h/live/a --players 0", "--players: players are at least 1"),
        ("play --url rtmp://h/live/a --sampled some", "--sampled: no share such as 20%: some"),
        ("fanout --url rtmp://h/live/a --players 9,2", "--players: players are at least 1"),
        ("fanout --url http://h/a.flv", "http://h/a.flv is only played: it needs --publish-url"),
        ("fanout --url rtmp://h/live/a --softirq-cpu 1", "--softirq-cpu needs --server-pid"),
        ("mixed --url rtmp://h/live/a", "--mix: flv needs --http"),
        ("mixed --url http://h/a.flv --no-publish", "a mix takes its name from --url rtmp"),
        ("mixed --url rtmp://h/live/a --mix rtmp", "--mix: rtmp is no share such as rtmp=50"),
        ("mixed --url rtmp://h/live/a --mix mkv=1", "--mix: no format mkv; there are rtmp"),
        ("mixed --url rtmp://h/live/a --mix rtmp=1,rtmp=2", "--mix: rtmp is there twice"),
        ("mixed --url rtmp://h/live/a --mix ts=1 --http h", "--http: h is no http[s]://"),
        ("mixed --url rtmp://h/live/a --mix srt=1", "--mix: srt needs --srt srt://HOST[:PORT]"),
        ("mixed --url rtmp://h/live/a --mix srt=1 --srt h:1", "--srt: h:1 is no srt://HOST"),
        ("play --url rtmp://h/live/a --srt srt://h", "play has no option --srt; try --help"),
        ("soak --url rtmp://h/live/a --server-pid 1 --srt srt://h", "--srt goes with --mix"),
        ("mixed --url rtmp://h/live/a --mix rtmp=0", "--mix: nobody has a share"),
        ("soak --url rtmp://h/live/a", "soak needs --server-pid"),
        ("find-knee --url rtmp://h/live/a --players-min 9 --players-max 8", "--players-min 9 is"),
        ("slow --url rtmp://h/live/a --slow 100%", "--slow is between 0% and 100%"),
        ("slow --url rtmp://h/live/a --slow-rate fast", "--slow-rate: no bit rate: fast"),
        ("storm --url rtmp://h/live/a --rounds 0", "--rounds: must be at least 1"),
        ("publish --url http://h/a.flv", "streams are published by rtmp://, rtmps:// or srt://"),
        ("publish --url rtmp://h/live/a --streams 0", "--streams: must be at least 1"),
        ("publish --url rtmp://h/live/a --bitrate fast", "--bitrate: no bit rate: fast"),
        ("publish --url rtmp://h/live/a --size 720p", "--size: no picture size: 720p"),
        ("publish --url rtmp://h/live/a --gop -1s", "--gop: no time: -1s"),
        ("publish --url rtmp://h/live/a --gop 2h", "--gop: 2h is too long; at most 1h"),
        ("publish --url rtmp://h/live/a --fps 1001", "--fps: 1001 is too much; at most 1000"),
        ("publish --url rtmp://h/live/a --fps 9999999999", "--fps: 9999999999 is too much"),
        ("publish --url rtmp://h/live/a --bitrate 1001M", "--bitrate: 1001M is too much; at most"),
        ("publish --url rtmp://h/live/a --bitrate 1000M --fps 1", "a keyframe would have"),
        ("publish --url rtmp://h/live/a --bitrate 1000M --gop 1m", "a keyframe would have"),
        ("publish --url rtmp://h/live/a --file a.flv --fps 25", "--fps is of synthetic media"),
        ("publish --url rtmp://h/live/a --audio --file a.flv", "--audio is of synthetic media"),
        ("fanout --url rtmp://h/live/a --file a.flv --gop 2s", "--gop is of synthetic media"),
        ("slow --url rtmp://h/live/a --file a.flv --size 64x64", "--size is of synthetic media"),
        (
            "slow --url rtmp://h/live/a --stop --file a.flv --bitrate 1M",
            "--bitrate is of synthetic",
        ),
        ("slow --url rtmp://h/live/a --file none.flv --bitrate 1M", "--file: cannot read none.flv"),
        ("fanout --url rtmp://h/live/a --hold", "--hold is of players of HLS, and nobody plays"),
        ("play --url http://h/a.ts --hold", "--hold is of players of HLS, and nobody plays"),
        ("mirror --url http://h/a/index.m3u8 --threads 2", "mirror has no option --threads"),
        ("publish --url rtmp://h/live/a --cpus 3-1", "--cpus: no list of CPUs such as 1,3-5"),
        ("publish --url", "--url: missing argument"),
        ("publish loud", "unexpected argument"),
        ("mirror --url http://h/a/index.m3u8", "mirror needs --into"),
        ("check-ts", "check-ts needs a file"),
        ("check-ts a.ts b.ts", "unexpected argument"),
        ("check-ts a.ts --url rtmp://h/live/a", "check-ts has no option --url"),
        ("--players 5", "the canonical workload has no option --players; try --help"),
    ];
    for (line, start) in table {
        let said = complaint(line, USAGE);
        assert!(said.starts_with(start), "{line}: {said}");
    }
}

#[test]
fn a_server_that_is_not_there_is_one_clear_line() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("--url rtmp://127.0.0.1:{port}/live/a");
    for command in ["publish", "play --players 3", "fanout --players 3", "storm --players 3"] {
        let said = complaint(&format!("{command} {url}"), FAILURE);
        assert!(said.contains(&format!("127.0.0.1:{port}")), "{said}");
        assert!(said.contains("Connection refused"), "{said}");
        assert!(said.ends_with("(is the server running, and is that its port?)"), "{said}");
    }
    let port = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let said = complaint(&format!("publish --url srt://127.0.0.1:{port}?streamid=a"), FAILURE);
    assert!(said.contains("Connection refused"), "{said}");
    assert!(said.ends_with("(is the server running, and is that its port?)"), "{said}");
    let said = complaint("publish --url rtmp://no-such-host.invalid/live/a", FAILURE);
    assert!(said.starts_with("cannot resolve no-such-host.invalid"), "{said}");
    let said = complaint(&format!("publish {url} --cpus 999"), FAILURE);
    assert!(said.starts_with("cannot stay on CPU 999: this process may run on"), "{said}");
    let said = complaint(&format!("play {url} --players 100000000"), FAILURE);
    assert!(said.contains("open files") && said.contains("ulimit -Hn"), "{said}");
}

#[test]
fn every_command_has_help() {
    let overview = String::from_utf8(run("--help").stdout).unwrap();
    for command in [
        "publish",
        "play",
        "fanout",
        "mixed",
        "soak",
        "find-knee",
        "slow",
        "storm",
        "mirror",
        "check-ts",
    ] {
        assert!(overview.contains(&format!("grandstand-load {command} ")), "{overview}");
        let output = run(&format!("{command} --help"));
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && output.stderr.is_empty());
        assert!(text.starts_with(&format!("grandstand-load {command} ")), "{text}");
        assert!(text.contains("--json FILE"), "{text}");
    }
}
