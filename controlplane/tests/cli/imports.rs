//! Imports: the worst of them takes no more of the memory than `check` sets aside for it.

use crate::program::{Dir, Server, http, output, status};

/// Bytes of a body at most.
const BYTES_MAX: usize = 4 << 20;

/// Bytes of a line of `/proc/PID/status`.
fn kernel_says(server: &Server, key: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/status", server.pid())).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).unwrap();
    line.trim().strip_suffix("kB").unwrap().trim().parse::<u64>().unwrap() << 10
}

/// Bytes of the term of that name.
fn term(table: &str, name: &str) -> u64 {
    let line = table.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    let words: Vec<_> = line.split_whitespace().take(3).collect();
    let [number, "MiB", "1"] = words[..] else { panic!("{line}") };
    (number.parse::<f64>().unwrap() * f64::from(1 << 20)) as u64
}

/// A piece of a body that is sent in pieces.
fn chunk(piece: &[u8]) -> String {
    format!("{:x}\r\n{}\r\n", piece.len(), std::str::from_utf8(piece).unwrap())
}

/// A server, and what it takes of the memory for requests.
struct Node {
    server: Server,
    token: String,
}

impl Node {
    /// What is told to a request, and the most that the server took for it.
    fn send(&self, path: &str, kind: &str, (length, body): (&str, &str)) -> (String, u64) {
        let Self { server, token } = self;
        let request = format!(
            "POST /api/v1/streams/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Authorization: Bearer {token}\r\nContent-Type: {kind}\r\n{length}\r\n\r\n{body}"
        );
        server.settled();
        // The kernel forgets the peak of before.
        std::fs::write(format!("/proc/{}/clear_refs", server.pid()), "5").unwrap();
        let before = kernel_says(server, "VmRSS");
        let told = http(server.addr("control"), &request);
        (told, kernel_says(server, "VmHWM").saturating_sub(before))
    }

    /// The same of a body that is said to be so long.
    fn send_whole(&self, path: &str, kind: &str, text: &str) -> (String, u64) {
        self.send(path, kind, (&format!("Content-Length: {}", text.len()), text))
    }
}

/// Tables in what no stream has: all of it is read before it is refused. The rest of the body is
/// one long comment.
fn tables(count: usize, value: &str) -> String {
    let table = |nth: usize| format!("[[streams.stream]]\ncode = \"s{nth}\"\nx = [{value}]\n");
    let tables: String = (0..count).map(table).collect();
    let rest = BYTES_MAX - tables.len() - 2;
    format!("#{}\n{tables}", "x".repeat(rest))
}

/// One change of what no stream has, and blanks.
fn bulk() -> String {
    let values = "{\"a\":1},".repeat(30_000);
    let change = format!("{{\"op\":\"put\",\"name\":\"s\",\"spec\":{{\"x\":[{values}0]}}}}");
    let pad = " ".repeat(BYTES_MAX - change.len() - 20);
    format!("{{\"changes\":[{change}]}}{pad}")
}

#[test]
fn the_worst_import_takes_no_more_than_is_set_aside_for_it() {
    let dir = Dir::new("imports");
    let bound = format!("[streams]\nimport_bytes_max = {BYTES_MAX}\n");
    dir.write("g.toml", &format!("[auth]\nmode = \"open\"\n{bound}"));
    let (code, table, _) = output(&mut dir.command(&["check", "--config", "g.toml"]));
    assert_eq!(code, Some(0), "{table}");
    let set_aside = term(&table, "imports ");
    let server = Server::start(&mut dir.command(&["--config", "g.toml"]));
    let token = std::fs::read_to_string(dir.0.join("grandstand-data/api-token")).unwrap();
    let node = Node { server, token: token.trim().to_owned() };
    let small = "{a=1},".repeat(240);
    // A text that ends with the quote of its own end hides nothing that follows.
    let hidden = format!("\"\"\"a\"\"\"\", {}", "{a=1},".repeat(1_000));
    let bulk = bulk();
    let pieces: String = bulk.as_bytes().chunks(32).chain([&b""[..]]).map(chunk).collect();
    let chunked = ("Transfer-Encoding: chunked", &*pieces);
    let (heavy, unknown) = ("raise streams.import_bytes_max", "\"unknown_field\"");
    let mut most = 0;
    for ((told, took), expected) in [
        (node.send_whole("import", "text/plain", &tables(600, &small)), heavy),
        (node.send_whole("import", "text/plain", &tables(280, &small)), unknown),
        (node.send_whole("import", "text/plain", &tables(600, &hidden)), heavy),
        (node.send_whole("bulk", "application/json", &bulk), unknown),
        (node.send("bulk", "application/json", chunked), unknown),
    ] {
        assert_eq!(status(&told), "422", "{told}");
        assert!(told.contains(expected), "{told}");
        println!("{took} of {set_aside}");
        assert!(took <= set_aside, "{took} of {set_aside}: {told}");
        most = most.max(took);
    }
    assert!(set_aside <= 4 * most, "{most} is far from {set_aside}");
}
