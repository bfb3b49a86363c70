//! One cell: two ends meet, a stream goes from one to the other, and what came is judged.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::cell::{Cell, Peer, Role};
use crate::content::{Content, Outcome};
use crate::end::{End, Place, Task, free_addr};
use crate::line::Running;

/// Two ends meet within this, or do not.
const CONNECT: Duration = Duration::from_secs(20);
/// What passes from when one end is connected until the other one knows it, too.
const SETTLE: Duration = Duration::from_millis(400);
/// What passes until two programs that do not tell have met.
const SETTLE_BLIND: Duration = Duration::from_millis(1_500);
/// Nothing comes any more after so long a silence.
const SILENCE: Duration = Duration::from_secs(2);
/// What is due is given so often.
const STEP: Duration = Duration::from_millis(1);

/// What a trial shows.
#[derive(Clone, Debug)]
pub(crate) struct Shown {
    pub(crate) outcome: Outcome,
    /// The version of SRT that our peer told.
    pub(crate) version: Option<u32>,
}

/// Tries it.
pub(crate) fn run(cell: Cell) -> Shown {
    let content = Arc::new(Content::at(cell.mbps));
    let addr = free_addr();
    let publishes = cell.role == Role::Publish;
    let packets = content.packets();
    let task = |place, sends| Task { place, sends, key: cell.key, packets };
    let called = task(Place::IsCalledAt(addr), !publishes);
    let called = End::start(cell.called, called, &content);
    let line = Running::start(cell, addr);
    let caller = End::start(cell.caller, task(Place::Calls(line.addr()), publishes), &content);
    let [mut source, mut sink] = if publishes { [caller, called] } else { [called, caller] };
    let outcome = match meet(&content, &mut source, &mut sink) {
        Ok(()) => pass(&content, &mut source, &mut sink),
        Err(why) => Outcome::Failed(why),
    };
    let version = source.peer_version().or_else(|| sink.peer_version());
    // Both ends are over before the line is.
    drop((source, sink));
    Shown { outcome, version: version.filter(|_| cell.caller != Peer::Ours) }
}

fn meet(content: &Content, source: &mut End, sink: &mut End) -> Result<(), String> {
    let began = Instant::now();
    let mut met = None;
    source.prime(content).map_err(|error| error.to_string())?;
    loop {
        for end in [&mut *source, &mut *sink] {
            if let Some(said) = end.ended() {
                return Err(format!("it is over: {said}"));
            }
        }
        let tell = [&*source, &*sink].map(End::is_connected);
        let settle = if tell == [None; 2] { SETTLE_BLIND } else { SETTLE };
        if tell.iter().all(|is_connected| is_connected.unwrap_or(true)) {
            let since = *met.get_or_insert_with(Instant::now);
            if since.elapsed() >= settle {
                return Ok(());
            }
        }
        if began.elapsed() > CONNECT {
            return Err("they do not meet".to_owned());
        }
        sink.wait(Duration::from_millis(20));
    }
}

fn pass(content: &Content, source: &mut End, sink: &mut End) -> Outcome {
    let began = Instant::now();
    let mut given = 0;
    while given < content.bytes().len() {
        given = content.due(began.elapsed());
        if let Err(error) = source.give(content, given) {
            let said = source.ended().unwrap_or_default();
            return Outcome::Failed(format!("the source takes no more: {error}: {said}"));
        }
        sink.wait(STEP);
    }
    let mut heard = Instant::now();
    while heard.elapsed() < SILENCE && !content.is_ended_by(sink.output()) {
        if sink.wait(Duration::from_millis(50)) {
            heard = Instant::now();
        }
    }
    let outcome = content.judge(sink.output());
    match [source, sink].into_iter().find_map(End::ended) {
        Some(said) if outcome != Outcome::Whole => Outcome::Failed(format!("{outcome}: {said}")),
        _ => outcome,
    }
}
