//! Teller: carries out what the ledger says, on the disk and to the application.
//!
//! Shape: `POST` without a body; `x-streaming-channel`, `x-streaming-id`, `x-event-type` and, of
//! `stream-available`, `x-stream-type: HLS-LIVE`, `x-resolution` and `x-index-file`, and
//! `Authorization` if so configured. Status 200 is taken, whatever else comes is told again.
//! Limits: [`MESSAGES_MAX`] messages are under way at one time, each for [`DEADLINE`] at most.
//! Lives on: a task of the control thread, so that neither a slow disk nor a slow application keeps
//! anybody else waiting. Crosses by: a lock that is held for no wait.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use dataplane::ids::{StreamId, StreamName};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tokio::sync::Notify;

use super::credential::Endpoint;
use super::flights::Flights;
use super::key_request::CHANNEL;
use super::ledger::{Counts, Ledger, Message, RETRY_FIRST};
use super::row::{Phase, Row};
use super::wire::Output;
use crate::config::CoordinatorSection;
use crate::outbound::{Address, Call, Client};
use crate::store::{COMMIT_BYTES_MAX, Store, StoreError, Table, Write};

/// Messages under way at most.
const MESSAGES_MAX: usize = 256;
/// A message that is not answered within this has failed.
const DEADLINE: Duration = Duration::from_secs(7);
/// What the application did not take is told again in less than this.
const AGAIN_WITHIN: Duration = Duration::from_secs(10);
const _: () = assert!(DEADLINE.as_millis() + RETRY_FIRST.as_millis() < AGAIN_WITHIN.as_millis());
/// Rows of one commit, and of one look at the store.
const BATCH_MAX: usize = 1_000;
/// Rows that are read at one time after a start: one may be as long as a value of the store.
const RECOVERED_AT_ONCE: usize = 64;
/// Bytes of the rows of one commit, nearly: a row and their form may come on top.
const BATCH_BYTES_MAX: usize = 1 << 20;
const _: () = assert!(BATCH_BYTES_MAX <= COMMIT_BYTES_MAX / 4);
/// A disk that failed is tried again after this long.
const DISK_PAUSE: Duration = Duration::from_secs(1);

/// Where the application is told, and what a message proves itself with.
#[derive(Clone, Debug, Default)]
pub struct Callback {
    /// Where; without it nothing is told.
    address: Option<Address>,
    /// The header `Authorization`.
    authorization: Option<HeaderValue>,
}

impl Callback {
    /// What is configured.
    #[must_use]
    pub fn of(section: &CoordinatorSection) -> Self {
        let Endpoint { url, credential } = &section.event_callback;
        // What cannot stand in a header was refused when the configuration was read.
        let authorization = credential.authorization().unwrap_or_default();
        Self { address: url.clone().filter(|_| section.is_on()), authorization }
    }

    /// True if somebody is told.
    #[must_use]
    pub const fn is_some(&self) -> bool {
        self.address.is_some()
    }
}

/// Tells the application of publications; clones are one.
#[derive(Clone, Debug, Default)]
pub struct Teller(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    ledger: Mutex<Ledger>,
    changed: Notify,
}

impl Teller {
    /// The first playlist of a publication can be served.
    pub fn ready(&self, channel: &StreamName, id: StreamId, resolution: String) {
        self.ledger().ready(id, Row::new(channel, resolution));
        self.0.changed.notify_one();
    }

    /// An attached encoder has made something of a publication that can be played.
    pub fn output(&self, channel: &StreamName, id: StreamId, output: Output) {
        self.ledger().output(id, channel, output);
        self.0.changed.notify_one();
    }

    /// A publication is over.
    pub fn ended(&self, id: StreamId) {
        self.ledger().ended(id);
        self.0.changed.notify_one();
    }

    /// The publications that were announced, or are to be, and are not over.
    #[must_use]
    pub fn running(&self) -> Vec<(StreamName, StreamId)> {
        let ledger = self.ledger();
        let running = ledger.running().map(|(id, channel)| (StreamName::parse(channel), id));
        running.filter_map(|(channel, id)| Some((channel?, id))).collect()
    }

    /// Publications that something is to be told of.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.ledger().waiting()
    }

    /// Messages that were taken, messages that failed, and ends that are never told.
    #[must_use]
    pub fn counts(&self) -> [u64; 3] {
        let Counts { told, failed, dropped } = self.ledger().counts();
        [told, failed, dropped]
    }

    /// Writes and tells, until the task is dropped.
    pub async fn run(self, store: Store, callback: Callback) {
        let client = Client::new(MESSAGES_MAX);
        self.recover(&store, callback.is_some()).await;
        let mut flights = Flights::default();
        loop {
            let mut pause = None;
            if !self.save(&store).await {
                pause = Some(Instant::now() + DISK_PAUSE);
            }
            while flights.len() < MESSAGES_MAX {
                let Some(message) = self.ledger().next(Instant::now()) else { break };
                let Some(call) = call(&callback, &message) else { break };
                flights.begin(message, |message| tell(client.clone(), call, message));
            }
            let due = if flights.len() < MESSAGES_MAX { self.ledger().due() } else { None };
            let wake = [due, pause].into_iter().flatten().min();
            let changed = self.0.changed.notified();
            tokio::select! {
                () = changed, if pause.is_none() => {}
                Some((message, taken)) = flights.over() => {
                    self.ledger().outcome(&message, taken, Instant::now());
                }
                () = sleep_until(wake) => {}
            }
        }
    }

    /// Takes over what the last run had announced; all of that is over.
    async fn recover(&self, store: &Store, told: bool) {
        let mut from = Vec::new();
        loop {
            let rows = match store.scan(Table::Announced, from.clone(), RECOVERED_AT_ONCE).await {
                Ok(rows) => rows,
                Err(error) => {
                    tracing::error!(reason = %error, "cannot read what was announced");
                    tokio::time::sleep(DISK_PAUSE).await;
                    continue;
                }
            };
            let Some((last, _)) = rows.last() else { return };
            from.clone_from(last);
            from.push(0);
            let (mut forgotten, mut over) = (Vec::new(), 0);
            for (key, value) in rows {
                let id = <[u8; 16]>::try_from(key.as_slice()).map(StreamId);
                match (id, Row::from_bytes(&value)) {
                    (Ok(id), Some(row)) if told => {
                        self.ledger().recover(id, row);
                        over += 1;
                    }
                    _ => forgotten.push(Write { table: Table::Announced, key, value: None }),
                }
            }
            if over > 0 {
                tracing::info!(publications = over, "announced before the start, to be told over");
            }
            if !forgotten.is_empty() && store.commit(forgotten).await.is_err() {
                tracing::warn!("rows of announcements that nobody is told of could not be removed");
            }
        }
    }

    /// Writes what is not on the disk; false if that failed.
    async fn save(&self, store: &Store) -> bool {
        while self.ledger().is_unsaved() {
            let rows = self.ledger().take_unsaved(BATCH_MAX, BATCH_BYTES_MAX);
            let write = |(id, row): &(StreamId, Option<Row>)| Write {
                table: Table::Announced,
                key: id.0.to_vec(),
                value: row.as_ref().map(Row::to_bytes),
            };
            let written = store.commit(rows.iter().map(write).collect()).await;
            let mut ledger = self.ledger();
            match written {
                Ok(()) => ledger.saved(&rows, Instant::now()),
                Err(error) => {
                    // A disk that failed is told by the store, once.
                    match error {
                        StoreError::TooLarge => {
                            tracing::error!(reason = %error, "cannot write what is announced");
                        }
                        error => tracing::debug!(reason = %error, "cannot write it yet"),
                    }
                    ledger.not_saved(&rows);
                    return false;
                }
            }
        }
        true
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // Nobody panics while holding it; if one did, its state would still be whole.
        self.0.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake.into()).await,
        None => std::future::pending().await,
    }
}

async fn tell(client: Client, call: Call, message: Message) -> bool {
    let (channel, id) = (&message.row.channel, message.id);
    match client.send(call).await {
        Ok(answer) if answer.status == StatusCode::OK => true,
        Ok(answer) => {
            let status = answer.status.as_u16();
            tracing::warn!(stream = %channel, %id, status, "the application refused an event");
            false
        }
        Err(failure) => {
            let reason = failure.name();
            tracing::warn!(stream = %channel, %id, reason, "the application was not told an event");
            false
        }
    }
}

/// The request of a message; `None` without anybody to tell.
fn call(callback: &Callback, message: &Message) -> Option<Call> {
    let mut call = Call::post(callback.address.clone()?, Bytes::new(), DEADLINE);
    call.headers = headers(message);
    let authorization = callback.authorization.clone();
    call.headers.extend(authorization.map(|value| (header::AUTHORIZATION, value)));
    Some(call)
}

fn headers(message: &Message) -> HeaderMap {
    let Message { id, row } = message;
    let channel = &row.channel;
    let available = row.phase == Phase::Available;
    let kind = if available { "stream-available" } else { "stream-closed" };
    let made_here = || Output::live(channel, *id, &row.resolution);
    let output = row.outputs.front().cloned().unwrap_or_else(made_here);
    let id = id.to_string();
    let mut headers: Vec<(&'static str, &str)> =
        vec![(CHANNEL, channel), ("x-streaming-id", &id), ("x-event-type", kind)];
    if available {
        headers.extend([
            ("x-stream-type", output.kind.name()),
            ("x-resolution", &output.resolution),
            ("x-index-file", &output.index_file),
        ]);
        if !output.start_time.is_empty() {
            headers.push(("x-start-time", &output.start_time));
        }
    }
    let header = |(name, text)| {
        let value = HeaderValue::from_str(text).expect("names and numbers are legal in headers");
        (HeaderName::from_static(name), value)
    };
    headers.into_iter().map(header).collect()
}

/// The pictures of a publication, as far as they are known; 0 is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pictures {
    /// Pixels of a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Pictures in a thousand seconds.
    pub fps_milli: u32,
}

/// Size and pace as the contract writes them; what is not known counts as one pixel and thirty
/// frames.
pub(super) fn resolution(pictures: Pictures) -> String {
    let Pictures { width, height, fps_milli } = pictures;
    let fps = match fps_milli {
        0 => 30,
        milli => milli.saturating_add(500).div_euclid(1_000).max(1),
    };
    format!("{}x{}-{fps}", width.max(1), height.max(1))
}

#[cfg(test)]
mod tests {
    use super::super::wire::OutputKind;
    use super::*;
    use crate::outbound::scripted::{Application, Reply};
    use crate::store::Disk;

    fn pictures(width: u32, height: u32, fps_milli: u32) -> Pictures {
        Pictures { width, height, fps_milli }
    }

    fn told(phase: Phase) -> Vec<(String, String)> {
        let channel = StreamName::parse("cam7").unwrap();
        let mut row = Row::new(&channel, resolution(pictures(1920, 1080, 29_970)));
        row.phase = phase;
        told_of(row)
    }

    fn told_of(row: Row) -> Vec<(String, String)> {
        let message = Message { id: StreamId([0xab; 16]), row };
        let callback = Callback {
            address: Address::parse("http://127.0.0.1:1/events"),
            authorization: Some(HeaderValue::from_static("Bearer t0ken")),
        };
        let call = call(&callback, &message).unwrap();
        assert_eq!((call.method.as_str(), call.body.len(), call.redirects_max), ("POST", 0, 0));
        let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
        call.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
    }

    fn owned(headers: &[(&str, &str)]) -> Vec<(String, String)> {
        headers.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    #[test]
    fn messages_have_exactly_the_headers_of_the_contract() {
        let id = "abababababababababababababababab";
        let index = format!("hls/cam7/{id}/1920x1080-30/live.m3u8");
        assert_eq!(
            told(Phase::Available),
            owned(&[
                ("x-streaming-channel", "cam7"),
                ("x-streaming-id", id),
                ("x-event-type", "stream-available"),
                ("x-stream-type", "HLS-LIVE"),
                ("x-resolution", "1920x1080-30"),
                ("x-index-file", &index),
                ("authorization", "Bearer t0ken"),
            ])
        );
        assert_eq!(
            told(Phase::Closed),
            owned(&[
                ("x-streaming-channel", "cam7"),
                ("x-streaming-id", id),
                ("x-event-type", "stream-closed"),
                ("authorization", "Bearer t0ken"),
            ])
        );
    }

    fn id(number: u8) -> StreamId {
        StreamId([number; 16])
    }

    #[tokio::test]
    async fn rows_of_more_bytes_than_a_commit_are_written_all_the_same() {
        const ROWS: u8 = 150;
        let (teller, store) = (Teller::default(), Disk::default().store());
        let channel = StreamName::parse("cam7").unwrap();
        let output = |number: usize| Output {
            kind: OutputKind::Vod,
            resolution: "x".repeat(512),
            index_file: format!("{number:0512}"),
            start_time: String::new(),
        };
        for number in 0..ROWS {
            (0..64).for_each(|nth| teller.output(&channel, id(number), output(nth)));
        }
        assert!(teller.save(&store).await);
        let rows = store.scan(Table::Announced, Vec::new(), 1_000).await.unwrap();
        let bytes: usize = rows.iter().map(|(_, value)| value.len()).sum();
        assert_eq!(rows.len(), usize::from(ROWS));
        assert!(bytes > COMMIT_BYTES_MAX, "{bytes}");
        assert!(teller.ledger().next(Instant::now()).is_some(), "it is told");
    }

    #[tokio::test]
    async fn an_application_that_never_answers_hears_of_all_that_is_due_at_once() {
        const ROWS: u8 = 40;
        const PATIENCE: Duration = Duration::from_secs(60);
        let application = Application::start(|_| Reply::Hang);
        let teller = Teller::default();
        let channel = StreamName::parse("cam7").unwrap();
        (0..ROWS).for_each(|number| teller.ready(&channel, id(number), "1x1-30".to_owned()));
        let address = Address::parse(&application.url("/events"));
        let callback = Callback { address, authorization: None };
        let task = tokio::spawn(teller.clone().run(Disk::default().store(), callback));
        let all_told = async {
            while application.seen().len() < usize::from(ROWS) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, all_told).await.expect("it is told");
        assert_eq!(teller.counts(), [0, 0, 0], "none waited for another to fail");
        task.abort();
    }

    #[test]
    fn an_output_of_an_attached_encoder_is_told_as_it_says() {
        let channel = StreamName::parse("cam7").unwrap();
        let mut row = Row::new(&channel, String::new());
        row.outputs.push_back(Output {
            kind: OutputKind::Vod,
            resolution: "640x360-30".to_owned(),
            index_file: "hls/cam7/x/vod-1.m3u8".to_owned(),
            start_time: "61.5".to_owned(),
        });
        assert_eq!(
            told_of(row),
            owned(&[
                ("x-streaming-channel", "cam7"),
                ("x-streaming-id", "abababababababababababababababab"),
                ("x-event-type", "stream-available"),
                ("x-stream-type", "HLS-VOD"),
                ("x-resolution", "640x360-30"),
                ("x-index-file", "hls/cam7/x/vod-1.m3u8"),
                ("x-start-time", "61.5"),
                ("authorization", "Bearer t0ken"),
            ])
        );
    }

    #[test]
    fn a_resolution_is_whole_numbers() {
        for (size, text) in [
            (pictures(640, 360, 25_000), "640x360-25"),
            (pictures(640, 360, 59_940), "640x360-60"),
            (pictures(640, 360, 400), "640x360-1"),
            (pictures(0, 0, 0), "1x1-30"),
            (pictures(1, 2, u32::MAX), "1x2-4294967"),
        ] {
            assert_eq!(resolution(size), text);
        }
    }
}
