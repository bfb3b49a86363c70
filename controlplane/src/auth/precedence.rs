//! Precedence: an application speaks before the registry, and neither instead of the other.

use dataplane::control::{AuthorizeRequest, Denial, Intent};
use dataplane::ids::StreamName;

use super::tests::{Bench, application, asking, coordinated, request, stream_of};
use super::*;
use crate::outbound::scripted::{Application as Scripted, Reply};

/// `cam` alone may be published, with its key.
struct Cam(KeyHash);

impl Cam {
    fn new() -> Self {
        Self(KeyHash::make("own").unwrap())
    }
}

impl Declarations for Cam {
    fn declared(&self, request: &AuthorizeRequest, stream: &StreamName) -> Declared {
        let known = stream.as_str() == "cam" || request.intent == Intent::Connect;
        let verdict = if known { Ok(()) } else { Err(Denial::NotFound) };
        Declared { verdict, key: known.then(|| self.0.clone()), ..Declared::default() }
    }
}

/// An application hands out addresses that are no names of streams: it is asked about them, and
/// the name that it gives is judged.
#[tokio::test]
async fn the_application_names_the_stream_before_the_name_is_judged() {
    let scripted = Scripted::start(|request| {
        let json = "content-type: application/json\r\n";
        match request {
            request if request.contains(r#""stream":"k3y""#) => {
                Reply::status(200, json, r#"{"stream":"cam"}"#)
            }
            // Nobody is asked about what came of an answer.
            request if request.contains(r#""stream":"cam""#) => {
                Reply::status(200, json, r#"{"stream":"k3y"}"#)
            }
            _ => Reply::status(204, "", ""),
        }
    });
    let cam = Cam::new();
    let mut bench = Bench::new(asking(application(&scripted.url("/"))));
    for round in 0..2 {
        for (intent, stream, expected) in [
            (Intent::Publish, "k3y", "cam"),
            (Intent::Play, "k3y", "cam"),
            (Intent::Publish, "cam", "not_found"),
            (Intent::Publish, "other", "not_found"),
        ] {
            let verdict = match bench.ask_with(request(intent, stream, "own"), &cam) {
                Some(verdict) => verdict,
                None => {
                    assert_eq!(round, 0, "{stream}: remembered by the name that was asked for");
                    let landing = bench.gate.landed().await.unwrap();
                    bench.gate.settle(landing, &cam, bench.now).remove(0).2
                }
            };
            assert_eq!(stream_of(&verdict), expected, "{intent:?} {stream}");
        }
    }
    assert_eq!(scripted.seen().len(), 4);
}

/// Whoever says yes, and whether or not anybody does.
#[tokio::test]
async fn a_key_of_the_stream_is_demanded_besides_what_an_application_says() {
    let yes = Scripted::start(|_| Reply::status(200, "", ""));
    let broken = Scripted::start(|_| Reply::status(500, "", ""));
    let on_failure = OnFailure::Allow;
    let lenient = Application { on_failure, ..application(&broken.url("/")) };
    for rules in [
        asking(application(&yes.url("/"))),
        asking(lenient),
        coordinated(Some(&yes.url("/"))),
        coordinated(None),
    ] {
        let (cam, mut bench) = (Cam::new(), Bench::new(rules));
        for (intent, key, expected) in [
            (Intent::Publish, "own", "cam"),
            (Intent::Publish, "other", "forbidden"),
            (Intent::Publish, "other", "forbidden"),
            (Intent::Play, "other", "cam"),
        ] {
            let verdict = match bench.ask_with(request(intent, "cam", key), &cam) {
                Some(verdict) => verdict,
                None => {
                    let landing = bench.gate.landed().await.unwrap();
                    bench.gate.settle(landing, &cam, bench.now).remove(0).2
                }
            };
            assert_eq!(stream_of(&verdict), expected, "{intent:?} {key}");
        }
    }
}
