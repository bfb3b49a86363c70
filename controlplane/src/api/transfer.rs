//! Transfer: all that is declared as one text, in the form that the configuration file takes.
//!
//! What is exported can be put into a file as it is, or imported into another node, where it is
//! taken whole or not at all. Stream keys stay hashed on the way.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};

use super::change::{DryRun, DryRunOutcome, Outcome};
use super::listing::Seat;
use super::pieces::{Piece, Pieces, parser_bytes};
use super::reply::{BUSY, ErrorBody, Refusal};
use super::request::{Params, Text};
use super::state::ApiState;
use super::streams::Done;
use crate::bridge::Ask;
use crate::config::{DeclaredLists, DeclaredTables, declared_in};
use crate::registry::{Change, IMPORT_MAX, Inventory, RegistryAsk};

/// Bytes of the body of an import at most, unless they are told.
pub(crate) const IMPORT_BYTES_MAX: usize = 8 << 20;
/// What is read of a body may weigh so many times what the body may have.
const WEIGHT_FACTOR: u64 = 16;

/// Bytes that an import takes at worst of a body of so many: its text, what is read of it, and a
/// parser's trees. What is declared by it has room of its own.
pub(crate) const fn import_bytes(bytes_max: u64) -> u64 {
    let weight_max = bytes_max * WEIGHT_FACTOR;
    bytes_max + weight_max + parser_bytes(weight_max)
}

/// What is read of a body may weigh so much.
pub(super) const fn weight_max(bytes_max: usize) -> u64 {
    bytes_max as u64 * WEIGHT_FACTOR
}

/// An import whose values take too much.
pub(super) fn too_heavy(code: &'static str) -> Refusal {
    let what = "what it says takes more of the memory than one import may; say it in several, or \
                raise streams.import_bytes_max";
    Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, code, what.to_owned())
}

/// Everything that is declared, by the file or the API, as TOML: `[[streams.tenant]]`,
/// `[[streams.template]]` and `[[streams.stream]]`, which a configuration file takes as they are.
/// Keys are hashed.
#[utoipa::path(
    get,
    path = "/api/v1/streams/export",
    tag = "streams",
    responses((
        status = 200, description = "TOML", body = String, content_type = "application/toml",
    )),
)]
pub(super) async fn export_streams(
    State(state): State<ApiState>,
    seat: Seat,
) -> Result<Response, Refusal> {
    let declared = state.ask(|reply| Ask::Registry(RegistryAsk::Declared { reply })).await?;
    // There may be a hundred thousand: beside the control thread.
    let make = move || (seat, text_of(&declared));
    let (_seat, text) = tokio::task::spawn_blocking(make).await.map_err(|_| BUSY)?;
    let kind = [
        (header::CONTENT_TYPE, "application/toml"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"streams.toml\""),
    ];
    Ok((kind, text).into_response())
}

/// Declares all that a text in the form of the configuration file says, or nothing of it. What is
/// declared already is replaced; what the text does not name stays.
#[utoipa::path(
    post,
    path = "/api/v1/streams/import",
    tag = "streams",
    params(DryRun),
    request_body(
        description = "[[streams.tenant]], [[streams.template]] and [[streams.stream]], as TOML",
        content((String = "text/plain"), (String = "application/toml")),
    ),
    responses(
        (status = 200, description = "All were declared", body = Done),
        (status = 202, description = "Nothing was done: a dry run", body = DryRunOutcome),
        (status = 409, description = "The file declares one; none was declared", body = ErrorBody),
        (status = 422, description = "Something is wrong; none was declared", body = ErrorBody),
    ),
)]
pub(super) async fn import_streams(
    State(state): State<ApiState>,
    Params(dry_run): Params<DryRun>,
    seat: Seat,
    Text(text): Text,
) -> Result<Response, Refusal> {
    let weight_max = weight_max(state.import_bytes_max);
    let read = move || (seat, Import::read(&text, weight_max));
    let (seat, read) = tokio::task::spawn_blocking(read).await.map_err(|_| BUSY)?;
    let Import { change, labels } = read?;
    let changed = labels.len();
    match dry_run.make_seated(&state, change, seat).await {
        Ok(Outcome::Asked(told)) => Ok(told),
        Ok(Outcome::Made(_)) => Ok(Json(Done { changed }).into_response()),
        Err(refusal) => Err(placed(refusal, &labels)),
    }
}

/// What is to be imported.
struct Import {
    change: Change,
    /// Where each part of the change stands in the text.
    labels: Vec<String>,
}

impl Import {
    fn read(text: &str, weight_max: u64) -> Result<Self, Refusal> {
        let wrong = |code, what| Err(Refusal::new(StatusCode::UNPROCESSABLE_ENTITY, code, what));
        let (mut lists, mut weight) = (DeclaredLists::default(), 0);
        for piece in Pieces::of(text, weight_max) {
            let Piece { text, lines_before, weight: costs } = match piece {
                Ok(piece) => piece,
                Err(line) => {
                    let what = format!(
                        "line {line}: one table says more than is read at once; give each stream a \
                         [[streams.stream]] of its own, or raise streams.import_bytes_max"
                    );
                    return wrong("bad_import", what);
                }
            };
            weight += costs;
            if weight > weight_max {
                return Err(too_heavy("bad_import"));
            }
            match declared_in(text, lines_before) {
                Ok(more) => lists.append(more),
                Err(what) => return wrong("bad_import", what),
            }
        }
        let kinds = [
            ("tenant", &lists.tenants),
            ("template", &lists.templates),
            ("stream", &lists.streams),
        ];
        let count: usize = kinds.iter().map(|(_, tables)| tables.0.len()).sum();
        if !(1..=IMPORT_MAX).contains(&count) {
            let what =
                format!("1 to {IMPORT_MAX} streams, templates and tenants fit into one import");
            return wrong("bad_import", what);
        }
        let label = |(kind, tables): (&str, &DeclaredTables)| {
            let place = |(at, _)| format!("{kind}[{at}]");
            tables.0.iter().enumerate().map(place).collect::<Vec<_>>()
        };
        let labels = kinds.map(label).concat();
        match Change::of_tables(lists) {
            Ok(change) => Ok(Self { change, labels }),
            Err(what) => wrong("bad_import", what),
        }
    }
}

/// The refusal, its field named by the place in the text.
fn placed(refusal: Refusal, labels: &[String]) -> Refusal {
    let field = refusal.field.as_deref().unwrap_or_default();
    let place = field.strip_prefix('[').and_then(|rest| {
        let (at, rest) = rest.split_once(']')?;
        Some(format!("{}{rest}", labels.get(at.parse::<usize>().ok()?)?))
    });
    match place {
        Some(place) => refusal.at(place),
        None => refusal,
    }
}

fn text_of(declared: &Arc<Inventory>) -> String {
    let lists = declared.tables();
    let tenants = lists.tenants.to_toml("tenant");
    [tenants, lists.templates.to_toml("template"), lists.streams.to_toml("stream")].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::desk::Desk;
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use axum::body::{Body, Bytes};
    use dataplane::ids::StreamName;
    use http::Method;
    use hyper::body::Frame;
    use tokio::sync::{mpsc, oneshot};

    use crate::api::bench::{Answer, Bench};
    use crate::api::pieces::weight_of_json;
    use crate::api::router::BODY_BYTES_MAX;
    use crate::registry::Registry;

    const PATH: &str = "/api/v1/streams/import";

    fn code(refusal: &serde_json::Value) -> (&str, &str) {
        let word = |field| refusal["error"][field].as_str().unwrap_or_default();
        (word("code"), word("field"))
    }

    #[tokio::test]
    async fn what_is_exported_is_imported_and_taken_by_a_file() {
        let one = Desk::start("export").await;
        let template =
            r#"{"prefixes": ["news/"], "description": "A \"name\"\n\u007f", "tags": ["a"]}"#;
        assert_eq!(one.ask(Method::PUT, "/api/v1/templates/news", template).await.status, 201);
        let stream = r#"{"template": "news", "stream_key": "hunter2", "metadata": {"a b": "c"},
            "inputs": [{"url": "publish://", "headers": {"a": ""}}], "protocols": {"hls": true},
            "transcoder": {"video": {"profiles": [{"codec": "h264"}]}}}"#;
        assert_eq!(one.ask(Method::PUT, "/api/v1/streams/news%2F1", stream).await.status, 201);
        assert_eq!(one.ask(Method::PUT, "/api/v1/streams/z", "{}").await.status, 201);
        let tenant = r#"{"name": "Acme \u0022", "quota": {"players_max": 5}}"#;
        assert_eq!(one.ask(Method::PUT, "/api/v1/tenants/acme.1", tenant).await.status, 201);
        let text = one.text("/api/v1/streams/export").await;
        assert!(text.contains("[[streams.stream]]") && !text.contains("hunter2"), "{text}");
        // Nothing is said that holds without being said.
        let inputs = r#"inputs = [{ "headers" = { "a" = "" }, "url" = "publish://" }]"#;
        assert!(text.contains(inputs), "{text}");
        assert!(text.contains(r#"protocols = { "hls" = true }"#), "{text}");
        assert!(!text.contains("bframes"), "it is null: {text}");

        let other = Desk::start("import").await;
        let dry = other.ask(Method::POST, "/api/v1/streams/import?dry_run=true", &text).await;
        assert_eq!(dry.status, 202, "{dry:?}");
        assert_eq!(other.text("/api/v1/streams/export").await, "", "a dry run changes nothing");
        let done = other.ask(Method::POST, PATH, &text).await;
        assert_eq!((done.status.as_u16(), &done.json["changed"]), (200, &4.into()), "{done:?}");
        assert_eq!(other.text("/api/v1/streams/export").await, text);
        // A file takes it as it is, and says the same.
        let lists = declared_in(&text, 0).unwrap();
        let section = crate::config::StreamsSection {
            stream: lists.streams,
            template: lists.templates,
            tenant: lists.tenants,
            ..crate::config::StreamsSection::default()
        };
        let file = crate::registry::FileStreams::read(&section).unwrap();
        assert_eq!((file.streams.len(), file.templates.len(), file.tenants.len()), (2, 1, 1));
        assert_eq!(file.tenants.values().next().unwrap().quota.unwrap().players_max, Some(5));
    }

    #[test]
    fn a_node_imports_by_default_as_much_as_it_may_declare() {
        for memory_max in ["512MiB", "1GiB"] {
            let env = ("GRANDSTAND_LIMITS__MEMORY_MAX".to_owned(), memory_max.to_owned());
            let loaded = crate::config::load(None, [env]).unwrap();
            let host = crate::config::Host::detect();
            let bounds = crate::config::plan(&loaded, &host, b"").unwrap().control;
            let mut registry = Registry::default();
            registry.bytes_max = bounds.declared_bytes_max;
            let stream = |nth: usize| Change::PutStream {
                name: StreamName::parse(&format!("show/{nth}")).unwrap(),
                value: serde_json::json!({
                    "name": "Show",
                    "inputs": [{ "url": "publish://" }],
                    "protocols": { "hls": true },
                }),
            };
            let fits = |&nth: &usize| registry.apply(stream(nth)).is_ok();
            let count = (0..IMPORT_MAX).take_while(fits).count();
            assert!((1_000..IMPORT_MAX).contains(&count), "{count}");
            let text = text_of(&Arc::new(registry.inventory()));
            assert!(text.len() as u64 <= bounds.import_bytes_max, "{}", text.len());
            let weight_max = weight_max(usize::try_from(bounds.import_bytes_max).unwrap());
            let Ok(read) = Import::read(&text, weight_max) else {
                panic!("{count} of {memory_max}")
            };
            assert_eq!(read.labels.len(), count);
        }
        // And as many tables as one import may have.
        let table = "[[streams.stream]]\ncode = \"show/12345\"\n\
                     inputs = [{ \"url\" = \"publish://\" }]\nname = \"Show\"\n\
                     protocols = { \"hls\" = true }\n\n";
        let text = table.repeat(IMPORT_MAX);
        assert!(text.len() <= IMPORT_BYTES_MAX);
        let weight_max = weight_max(IMPORT_BYTES_MAX);
        let weight: u64 = Pieces::of(&text, weight_max).map(|piece| piece.unwrap().weight).sum();
        assert!(weight <= weight_max, "{weight}");
    }

    /// Whatever one may say of a stream is read at once, on a small node, too.
    #[test]
    fn the_richest_stream_that_may_be_put_is_imported() {
        use serde_json::{Value, json};
        let list =
            |count: usize, item: &dyn Fn(usize) -> Value| (0..count).map(item).collect::<Value>();
        let pairs =
            |count: usize| (0..count).map(|nth| (format!("k{nth}"), json!(""))).collect::<Value>();
        let input = |nth: usize| {
            json!({
                "url": format!("srt://[::]:{}", 9_000 + nth), "priority": nth, "program": 1,
                "headers": pairs(32), "params": pairs(32), "pids": list(64, &|nth| json!(nth)),
                "net": { "timeout_sec": 3, "insecure_tls": true },
            })
        };
        let rung = |_| {
            json!({
                "width": 1, "height": 1, "bitrate": 1, "max_bitrate": 1, "framerate": 25.0,
                "keyframe_interval": 1, "codec": "c", "preset": "p", "profile": "p", "level": "l",
                "bframes": 1, "refs": 1, "sar": "1:1", "resize_mode": "pad",
            })
        };
        let push = |nth: usize| json!({ "url": format!("rtmp://h/a/{nth}"), "comment": "c" });
        let spec = json!({
            "name": "n", "description": "d", "tags": list(64, &|nth| json!(format!("t{nth}"))),
            "inputs": list(16, &input), "push": list(16, &push), "protocols": { "hls": true },
            "transcoder": {
                "video": { "profiles": list(16, &rung) },
                "extra_args": list(64, &|_| json!("-x")),
            },
            "dvr": { "enabled": true }, "watermark": { "type": "text", "text": "t" },
            "thumbnail": { "enabled": true }, "metadata": pairs(64),
        });
        assert!(spec.to_string().len() <= BODY_BYTES_MAX, "it can be put");
        let mut registry = Registry::default();
        let name = StreamName::parse("rich").unwrap();
        registry.apply(Change::PutStream { name, value: spec }).unwrap();
        let text = text_of(&Arc::new(registry.inventory()));
        for bytes_max in [IMPORT_BYTES_MAX, 512 << 10] {
            assert_eq!(
                Import::read(&text, weight_max(bytes_max)).map(|read| read.labels.len()),
                Ok(1)
            );
        }
    }

    #[tokio::test]
    async fn many_changes_fit_a_list_on_a_small_node() {
        let desk = Desk::start("bulk-many").await;
        let put = |nth: usize| {
            format!(
                r#"{{"op":"put","name":"s{nth}","spec":{{"inputs":[{{"url":"publish://"}}]}}}}"#
            )
        };
        let puts: Vec<_> = (0..1_000).map(put).collect();
        let text = format!("{{\"changes\":[{}]}}", puts.join(","));
        // What a node with 128 MiB allows one.
        assert!(weight_of_json(&text) <= weight_max(512 << 10) / 2);
        let done = desk.ask(Method::POST, "/api/v1/streams/bulk", &text).await;
        assert_eq!((done.status.as_u16(), &done.json["changed"]), (200, &1_000.into()), "{done:?}");
    }

    #[tokio::test]
    async fn an_import_is_taken_whole_or_not_at_all() {
        let desk = Desk::start("import-all").await;
        for (text, expected) in [
            ("", ("bad_import", "")),
            ("= 1", ("bad_import", "")),
            ("[streams]\nidle_ms = 1", ("bad_import", "")),
            ("[[auth.keys]]\nkey = 1", ("bad_import", "")),
            ("[[streams.stream]]\nname = \"no code\"", ("bad_import", "")),
            ("[[streams.stream]]\ncode = \"../a\"", ("bad_import", "")),
            ("[[streams.stream]]\ncode = \"a\"\nstream_key = \"plain\"", ("bad_import", "")),
            (
                "[[streams.stream]]\ncode = \"a\"\n[[streams.stream]]\ncode = \"a\"",
                ("bad_import", ""),
            ),
            (
                "[[streams.template]]\ncode = \"t\"\n[[streams.stream]]\ncode = \"a\"\n\
                 [[streams.stream]]\ncode = \"b\"\ninputs = [{ url = \"rtsp://h:1\" }]",
                ("input_not_supported", "stream[1].inputs[0].url"),
            ),
            ("[[streams.tenant]]\ncode = \"a/b\"", ("bad_import", "")),
            (
                "[[streams.tenant]]\ncode = \"a\"\nquota = { bytes_period = \"week\" }",
                ("invalid_value", "tenant[0].quota.bytes_period"),
            ),
            (
                "[[streams.stream]]\ncode = \"a\"\ntemplate = \"gone\"",
                ("template_not_found", "stream[0].template"),
            ),
        ] {
            let answer = desk.ask(Method::POST, PATH, text).await;
            assert_eq!(answer.status.as_u16(), 422, "{text}: {answer:?}");
            assert_eq!(code(&answer.json), expected, "{text}: {answer:?}");
        }
        assert_eq!(desk.text("/api/v1/streams/export").await, "", "nothing of it was taken");
    }

    #[tokio::test]
    async fn an_import_of_many_pieces_is_one() {
        let desk = Desk::start("import-pieces").await;
        let table = |nth: usize| {
            let note = "x".repeat(4_000);
            format!("[[streams.stream]]\ncode = \"s{nth}\"\ndescription = \"{note}\"\n")
        };
        let text: String = (0..300).map(table).collect();
        assert!(Pieces::of(&text, weight_max(IMPORT_BYTES_MAX)).count() > 3);
        // What is wrong with the last piece has its line of the whole, and nothing is taken.
        let wrong = format!("{text}[[streams.stream]]\ncode = ");
        let told = desk.ask(Method::POST, PATH, &wrong).await;
        let what = told.json["error"]["message"].as_str().unwrap();
        assert!(what.contains("body:902: not TOML"), "{what}");
        let wrong = format!("{text}[[streams.template]]\n\n[streams.other]\n");
        let told = desk.ask(Method::POST, PATH, &wrong).await;
        let what = told.json["error"]["message"].as_str().unwrap();
        assert!(what.contains("line 903: streams.other"), "{what}");
        let twice = format!("{text}{}", table(7));
        let told = desk.ask(Method::POST, PATH, &twice).await;
        assert!(told.json["error"]["message"].as_str().unwrap().contains("declared twice"));
        let wrong = format!("{text}[[streams.stream]]\ncode = \"t\"\ntemplate = \"gone\"\n");
        let told = desk.ask(Method::POST, PATH, &wrong).await;
        assert_eq!(code(&told.json), ("template_not_found", "stream[300].template"));
        assert_eq!(desk.text("/api/v1/streams/export").await, "");
        let done = desk.ask(Method::POST, PATH, &text).await;
        assert_eq!((done.status.as_u16(), &done.json["changed"]), (200, &300.into()), "{done:?}");
    }

    /// A body that comes once it may, and tells when it is read.
    struct Held {
        text: &'static str,
        may: oneshot::Receiver<()>,
        read: mpsc::UnboundedSender<&'static str>,
    }

    impl hyper::body::Body for Held {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            let text = self.text;
            let _ = self.read.send(text);
            if text.is_empty() || Pin::new(&mut self.may).poll(context).is_pending() {
                return if text.is_empty() { Poll::Ready(None) } else { Poll::Pending };
            }
            self.text = "";
            Poll::Ready(Some(Ok(Frame::data(text.into()))))
        }
    }

    #[tokio::test]
    async fn bodies_are_read_one_after_the_other() {
        let desk = Desk::start("import-one").await;
        let (read, mut reads) = mpsc::unbounded_channel();
        let held = |path: &str, text| {
            let (let_go, may) = oneshot::channel();
            let mut request = desk.bench.request(&Method::POST, path, "");
            *request.body_mut() = Body::new(Held { text, may, read: read.clone() });
            (let_go, desk.bench.answer(request))
        };
        let one = "[[streams.stream]]\ncode = \"a\"\n";
        let (let_go, first) = held(PATH, one);
        let other = r#"{"changes":[{"op":"delete","name":"a"}]}"#;
        let (at_once, second) = held("/api/v1/streams/bulk", other);
        at_once.send(()).unwrap();
        let ((), first, second) = tokio::join!(
            async {
                assert_eq!(reads.recv().await, Some(one));
                // The other one is asked for as well, and its body waits.
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                    assert_ne!(reads.try_recv(), Ok(other));
                }
                let_go.send(()).unwrap();
            },
            first,
            second
        );
        assert_eq!((first.status, second.status), (StatusCode::OK, StatusCode::OK), "{second:?}");
    }

    const ONE: &str = "[[streams.stream]]\ncode = \"a\"\n";
    const OTHER: &str = "[[streams.stream]]\ncode = \"b\"\n";

    /// An import of `text`, which comes at once and tells when it is read.
    fn import<'a>(
        bench: &'a Bench,
        text: &'static str,
        read: &mpsc::UnboundedSender<&'static str>,
    ) -> Pin<Box<dyn Future<Output = Answer> + 'a>> {
        let (may_now, may) = oneshot::channel();
        may_now.send(()).unwrap();
        let mut request = bench.request(&Method::POST, PATH, "");
        *request.body_mut() = Body::new(Held { text, may, read: read.clone() });
        Box::pin(bench.answer(request))
    }

    #[tokio::test]
    async fn who_hangs_up_lets_the_next_one_in_when_the_change_is_made() {
        let mut bench = Bench::new("import-made");
        let mut asks = std::mem::replace(&mut bench.asks, mpsc::channel(1).1);
        let (read, mut reads) = mpsc::unbounded_channel();
        let mut first = import(&bench, ONE, &read);
        let asked = tokio::select! {
            told = &mut first => panic!("{told:?}"),
            asked = asks.recv() => asked,
        };
        // It may wait for a disk.
        drop(first);
        while reads.try_recv().is_ok() {}
        let mut second = import(&bench, OTHER, &read);
        tokio::select! {
            told = &mut second => panic!("{told:?}"),
            told = reads.recv() => panic!("{told:?} is read beside what is there"),
            () = async {
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
            } => {}
        }
        drop(asked);
        tokio::select! {
            told = &mut second => panic!("{told:?}"),
            asked = asks.recv() => assert!(asked.is_some()),
        }
    }

    #[test]
    fn who_hangs_up_lets_the_next_one_in_when_what_was_sent_is_read() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .max_blocking_threads(1)
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let desk = Desk::start("import-gone").await;
            // Nothing is read as long as the only thread for it is held.
            let (let_go, held) = std::sync::mpsc::channel::<()>();
            let holding = tokio::task::spawn_blocking(move || held.recv());
            let (read, mut reads) = mpsc::unbounded_channel();
            let mut first = import(&desk.bench, ONE, &read);
            tokio::select! {
                told = &mut first => panic!("{told:?}"),
                () = async { while reads.recv().await != Some("") {} } => {}
            }
            drop(first);
            let mut second = import(&desk.bench, OTHER, &read);
            tokio::select! {
                told = &mut second => panic!("{told:?}"),
                told = reads.recv() => panic!("{told:?} is read beside what is there"),
                () = async {
                    for _ in 0..100 {
                        tokio::task::yield_now().await;
                    }
                } => {}
            }
            let_go.send(()).unwrap();
            assert_eq!(second.await.status, StatusCode::OK);
            assert!(holding.await.unwrap().is_ok());
            let text = desk.text("/api/v1/streams/export").await;
            assert!(!text.contains("\"a\"") && text.contains("\"b\""), "{text}");
        });
    }

    #[tokio::test]
    async fn what_takes_too_much_of_the_memory_is_not_read() {
        let desk = Desk::start("import-heavy").await;
        // Each table is short, and all of them are too many.
        let table = format!("[[streams.stream]]\ncode = \"a\"\nx = [{}]\n", "{},".repeat(300));
        let text = table.repeat(650);
        let told = desk.ask(Method::POST, PATH, &text).await;
        assert_eq!((told.status.as_u16(), code(&told.json).0), (422, "bad_import"), "{told:?}");
        let what = told.json["error"]["message"].as_str().unwrap();
        assert!(what.contains("; say it in several, or raise streams.import_bytes_max"), "{what}");
        let one = format!("\n[[streams.stream]]\ncode = \"a\"\nx = [{}]\n", "{},".repeat(5_000));
        let told = desk.ask(Method::POST, PATH, &one).await;
        let what = told.json["error"]["message"].as_str().unwrap();
        assert!(what.starts_with("line 2: one table says more"), "{what}");
        let change = format!(
            "{{\"op\":\"put\",\"name\":\"a\",\"spec\":{{\"x\":[{}0]}}}}",
            "{},".repeat(100_000)
        );
        let bulk = format!("{{\"changes\":[{change}]}}");
        let told = desk.ask(Method::POST, "/api/v1/streams/bulk", &bulk).await;
        assert_eq!((told.status.as_u16(), code(&told.json).0), (422, "bad_bulk"), "{told:?}");
        let huge = " ".repeat(IMPORT_BYTES_MAX + 1);
        for path in [PATH, "/api/v1/streams/bulk"] {
            let told = desk.ask(Method::POST, path, &huge).await;
            assert_eq!((told.status.as_u16(), code(&told.json).0), (413, "body_too_large"));
        }
        assert_eq!(desk.text("/api/v1/streams/export").await, "");
    }
}
