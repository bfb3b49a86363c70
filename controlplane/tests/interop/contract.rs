//! The API against its own document, asked by an independent program: schemathesis.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::clip::Clip;
use crate::http_flv::get;
use crate::process::Process;
use crate::publisher::Publisher;
use crate::server::{Backend, Options, Server};

/// How long it asks.
const SECONDS: u32 = 30;
/// It starts, asks and ends within this.
const END: Duration = Duration::from_secs(120);
/// What an answer is judged by. Whether a body of the right shape is also right, as a template
/// that is there, no document can say: that is not asked.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,\
                      response_headers_conformance,response_schema_conformance,\
                      missing_required_header,unsupported_method,allow_header_conformance,\
                      ignored_auth,negative_data_rejection";

fn schemathesis() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.tools/venv/bin/schemathesis");
    path.canonicalize().expect("schemathesis is there: run .ci/setup")
}

#[test]
fn every_answer_is_as_the_document_says() {
    let server = Server::start(&Options::on(Backend::Auto));
    let publisher = Publisher::ffmpeg_endless(Clip::Small, &server.rtmp_url("asked"));
    server.api_until("/api/v1/streams", |answer| answer["streams"][0]["name"] == "asked");
    let mut command = Command::new(schemathesis());
    command.arg("run").arg(format!("http://{}/api/v1/openapi.json", server.control));
    command.args(["--header", &format!("Authorization: Bearer {}", server.token())]);
    command.args(["--checks", CHECKS, "--phases", "examples,coverage,fuzzing"]);
    command.args(["--max-time", &SECONDS.to_string(), "--continue-on-failure", "--no-color"]);
    // Events never end, and a hook would call whatever address is made up for it.
    command.args(["--exclude-path", "/api/v1/events"]);
    for name in ["POST /api/v1/hooks", "PUT /api/v1/hooks/{id}", "POST /api/v1/hooks/{id}/test"] {
        command.args(["--exclude-name", name]);
    }
    // It keeps what it learnt in the folder that it is started in.
    command.current_dir(server.folder());
    let mut asked = Process::start(&mut command);
    let status = asked.wait(END);
    let report = asked.output();
    assert!(status.success(), "{report}");
    let number = |title: &str| -> Option<usize> {
        let line = report.lines().find_map(|line| line.trim().strip_prefix(title))?;
        line.trim().split('/').next()?.parse().ok()
    };
    let (selected, tested) = (number("Selected:"), number("Tested:"));
    assert!(selected > Some(30) && tested == selected, "{report}");
    assert_eq!(get(server.control, "/readyz", "").0, 200, "it serves as before");
    publisher.kill();
    server.stop();
}
