//! `[shards]`: how many, on which cores, and which streams live where.

use dataplane::config::Pin;
use dataplane::ids::{SHARDS_MAX, ShardId};

use super::document::Datum;
use super::field::{Auto, Bounds, Field, quoted};
use super::key::{Key, Section};

/// `[shards]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardsSection {
    /// How many.
    pub count: Auto<u16>,
    /// On which cores, in the order of the shards.
    pub cores: Auto<Cores>,
    /// Overrides of the placement of streams.
    pub pin: Vec<Pin>,
}

/// Core numbers, as the system counts CPUs; empty for none, which leaves the threads to the
/// scheduler.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cores(pub Vec<usize>);

impl Default for ShardsSection {
    fn default() -> Self {
        Self { count: Auto::Auto, cores: Auto::Auto, pin: Vec::new() }
    }
}

const KEYS: &[Key] = &[
    Key::new(
        "count",
        "Shards, one thread each. \"auto\" is one per CPU that this process may use: its affinity \
         mask within the control group's quota.",
        |s| &mut s.shards.count,
    )
    .range(1, SHARDS_MAX as u64),
    Key::new(
        "cores",
        "The cores that shards are pinned to, in turn, by the system's CPU numbers. \"auto\" is \
         those of the affinity mask, or none when a quota allows fewer than the mask; [] pins \
         none.",
        |s| &mut s.shards.cores,
    )
    .formerly("cpus"),
    Key::new(
        "pin",
        "Streams by name (`*` stands for any letters) and the shard that is their home, first \
         match wins. In the file: [[shards.pin]] with stream and shard.",
        |s| &mut s.shards.pin,
    ),
];

pub(super) fn section() -> Section {
    Section::new("shards", "Threads of the data plane, and the homes of streams.", KEYS)
}

impl Field for Cores {
    fn expects(&self, _: &Bounds) -> String {
        "a list of CPU numbers such as [0, 2]".to_owned()
    }
    fn read(&mut self, datum: &Datum, _: &Bounds) -> Option<()> {
        let Datum::List(items) = datum else { return None };
        let core = |item: &Datum| match item {
            Datum::Integer(core) => usize::try_from(*core).ok(),
            _ => None,
        };
        self.0 = items.iter().map(core).collect::<Option<_>>()?;
        Some(())
    }
    fn render(&self) -> String {
        format!("{:?}", self.0)
    }
}

impl Field for Vec<Pin> {
    fn expects(&self, _: &Bounds) -> String {
        "tables [[shards.pin]] of a stream pattern and a shard number such as stream = \"news/*\" \
         and shard = 1"
            .to_owned()
    }
    fn read(&mut self, datum: &Datum, _: &Bounds) -> Option<()> {
        let Datum::List(items) = datum else { return None };
        *self = items.iter().map(pin).collect::<Option<_>>()?;
        Some(())
    }
    fn render(&self) -> String {
        let pin =
            |pin: &Pin| format!("{{ stream = {}, shard = {} }}", quoted(&pin.pattern), pin.shard);
        format!("[{}]", self.iter().map(pin).collect::<Vec<_>>().join(", "))
    }
}

fn pin(datum: &Datum) -> Option<Pin> {
    let Datum::Table(fields) = datum else { return None };
    let (mut pattern, mut shard) = (None, None);
    for (key, value) in fields {
        match (key.as_str(), value) {
            ("stream", Datum::Text(text)) if legal_pattern(text) => pattern = Some(text.clone()),
            ("shard", Datum::Integer(number)) => {
                shard = Some(ShardId(u16::try_from(*number).ok()?));
            }
            _ => return None,
        }
    }
    Some(Pin { pattern: pattern?, shard: shard? })
}

/// A pattern that some stream name can match: its letters are those of names, and `*`.
pub(super) fn legal_pattern(text: &str) -> bool {
    let legal = |c: char| c.is_ascii_alphanumeric() || "_-/*".contains(c);
    !text.is_empty() && text.chars().all(legal)
}
