//! Imports: the worst of them takes no more of the memory than `check` sets aside for it.

use crate::program::{Dir, Server, http, output, status};

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

#[test]
fn the_worst_import_takes_no_more_than_is_set_aside_for_it() {
    let dir = Dir::new("imports");
    dir.write("g.toml", "[auth]\nmode = \"open\"\n[streams]\nimport_bytes_max = \"4MiB\"\n");
    let (code, table, _) = output(&mut dir.command(&["check", "--config", "g.toml"]));
    assert_eq!(code, Some(0), "{table}");
    let set_aside = term(&table, "imports ");
    let server = Server::start(&mut dir.command(&["--config", "g.toml"]));
    let token = std::fs::read_to_string(dir.0.join("grandstand-data/api-token")).unwrap();
    let send = |path: &str, kind: &str, text: &str| {
        let request = format!(
            "POST /api/v1/streams/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
             Authorization: Bearer {}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n{text}",
            token.trim(),
            text.len()
        );
        http(server.addr("control"), &request)
    };
    server.settled();
    let before = kernel_says(&server, "VmRSS");
    // Small tables in what no stream has: all of it is read before it is refused. The rest of the
    // body is one long comment.
    let tables = |count: usize| {
        let table = |nth: usize| {
            let values = "{a=1},".repeat(240);
            format!("[[streams.stream]]\ncode = \"s{nth}\"\nx = [{values}]\n")
        };
        let tables: String = (0..count).map(table).collect();
        let rest = (4 << 20) - tables.len() - 2;
        format!("#{}\n{tables}", "x".repeat(rest))
    };
    let told = send("import", "text/plain", &tables(600));
    assert!(told.contains("raise streams.import_bytes_max"), "{told}");
    let told = send("import", "text/plain", &tables(280));
    assert_eq!(status(&told), "422", "{told}");
    assert!(told.contains("\"unknown_field\""), "{told}");
    let values = "{\"a\":1},".repeat(34_000);
    let change = format!("{{\"op\":\"put\",\"name\":\"s\",\"spec\":{{\"x\":[{values}0]}}}}");
    let pad = " ".repeat((4 << 20) - change.len() - 20);
    let bulk = format!("{{\"changes\":[{change}]}}{pad}");
    let told = send("bulk", "application/json", &bulk);
    assert_eq!(status(&told), "422", "{told}");
    assert!(told.contains("\"unknown_field\""), "{told}");
    // The same in pieces of four letters.
    let pieces: String = bulk.as_bytes().chunks(4).map(chunk).collect();
    let request = format!(
        "POST /api/v1/streams/bulk HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\
         Authorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Transfer-Encoding: chunked\r\n\r\n{pieces}0\r\n\r\n",
        token.trim()
    );
    let told = http(server.addr("control"), &request);
    assert_eq!(status(&told), "422", "{told}");
    assert!(told.contains("\"unknown_field\""), "{told}");
    let took = kernel_says(&server, "VmHWM") - before;
    println!("{took} of {set_aside}");
    assert!(took <= set_aside, "{took} of {set_aside}");
    assert!(set_aside <= 4 * took, "{took} is far from {set_aside}");
}
