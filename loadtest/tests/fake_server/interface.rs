//! The interface of a node whose control listener speaks TLS only.

use std::net::TcpListener;
use std::thread;

use loadtest::observe::{ApiPlan, ServerApi};
use loadtest::tls::Trust;

use crate::tls::{self, CertificateFile};

/// Answers every request with its version, in chunks; tells the port.
fn start() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut wire = tls::accept(stream);
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                if wire.read_exact(&mut byte).is_err() {
                    break;
                }
                request.push(byte[0]);
            }
            let is_asked = request.starts_with(b"GET /api/v1/version HTTP/1.1\r\n");
            let status = if is_asked { "200 OK" } else { "404 Not Found" };
            let _ = write!(wire, "HTTP/1.1 {status}\r\nTransfer-Encoding: chunked\r\n\r\n");
            let _ = write!(wire, "9\r\n{{\"version\r\n9\r\n\":\"9.8.7\"\r\n1\r\n}}\r\n0\r\n\r\n");
        }
    });
    port
}

#[test]
fn an_interface_inside_tls_is_asked_by_whom_trusts_it() {
    let port = start();
    let file = CertificateFile::write();
    let ask = |host: &str, trust: Trust| {
        let (url, token_file) = (format!("https://{host}:{port}/"), None);
        ServerApi::new(&ApiPlan { url, trust, token_file }).and_then(|api| api.version())
    };
    let authority = || Trust::Authority(file.path.clone());
    for (host, trust) in
        [("127.0.0.1", Trust::Anybody), ("127.0.0.1", authority()), ("localhost", authority())]
    {
        assert_eq!(ask(host, trust).unwrap(), "grandstand 9.8.7");
    }
    let told = format!("{:#}", ask("127.0.0.1", Trust::System).unwrap_err());
    assert!(told.contains("certificate") || told.contains("authorities"), "{told}");
    // One without TLS there is told as what it is.
    let (url, trust) = (format!("http://127.0.0.1:{port}"), Trust::Anybody);
    let plain = ServerApi::new(&ApiPlan { url, trust, token_file: None }).unwrap();
    assert!(plain.version().is_err());
}
