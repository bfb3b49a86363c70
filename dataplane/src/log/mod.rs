//! Packaged logs: a stream framed once for the wire, written by one shard, read by all.
//!
//! Shape: an endless sequence of bytes of which a window, `tail..committed`, is kept in large
//! pages, and beside it the window of entries (one framed access unit each) in small pages. A
//! player is an offset into the bytes; nothing is queued, copied or counted for it. A log of
//! packets has a third window, of the groups that its packets are sent in (`groups.rs`).
//!
//! ```text
//!   bytes    ....|tail==========|==========|=====committed|....open entry....
//!   pages        | page slot 7  |  slot 8  |  slot 9      |
//!   entries  ....|first ... newest join ... newest|
//! ```
//!
//! Units: offsets are bytes from the start of the log, entry numbers count from 0; both never wrap.
//! Limits: [`LogLimits`], [`ENTRY_BYTES_MAX`], [`PREAMBLES_MAX`]; page slots are allocated once.
//! Not here: who reads a log and when (`shard/egress.rs`), what is written into it (`package/`).
//!
//! # Why a reader never sees a page of another time
//!
//! **Who holds a page.** Only the log, from the moment its writer takes it from the pool of its
//! shard until it goes to that shard's [`Gc`]. Readers hold no page. They read page slots and bytes
//! inside one turn of their shard: kernel sends end inside the submit of that turn, so no address
//! of a page outlives it. Whoever needs bytes for longer copies them.
//!
//! **Until what event.** The writer retires a page in this order: it moves `tail` beyond the page
//! (release), gives the page to the `Gc`, and the `Gc` tags it with the global epoch that it
//! increments, `tag = G++`. The page is free once each shard's own epoch is greater than `tag`, or
//! says that the shard sleeps. A shard copies `G` to its own epoch after the submit of each turn,
//! when it holds no address.
//!
//! - *A shard whose epoch is greater than `tag`* read `G` after the increment. The increment is a
//!   release and the read an acquire, so this turn sees the moved `tail`, and refuses every offset
//!   of the page. What earlier turns read lies before the release store of its own epoch, which the
//!   `Gc` acquired: those reads happened before the page was reused.
//! - *A shard that sleeps* stored "asleep" (release) after its last turn, so its reads happened
//!   before as well. When it wakes it stores its epoch, fences, and only then reads a `tail`; the
//!   `Gc` moved `tail`, fenced, and then read "asleep". Of two sequentially consistent fences one
//!   is first: either the `Gc` sees the shard awake and waits, or the shard sees the moved `tail`.
//! - *A reader that races with the writer in the same turn* may find in the slot the page of a
//!   later lap, or one that was cut a moment ago. It loads the slots, fences (acquire), and loads
//!   `tail` again. A slot of a later lap was stored (release) after the cut, so the second load
//!   sees the cut, and the answer is [`Lapped`]. If `tail` is not yet beyond the offset, the slot
//!   held the right page, and whatever the writer does from now on, the epoch keeps the page until
//!   the turn of this reader is over.
//!
//! Bytes, entries and groups are written once, before the release store of their `committed`; a
//! reader never looks beyond the `committed` that it acquired. An entry and a group are a few words
//! of a page: they are read only after the page was found to be that of this lap, and a group is
//! committed after its bytes, cut off with them. Preambles and windows of
//! segments are immutable and retired in the same way (`board.rs`).
//!
//! **Bounded how.** A log keeps at most `bytes_max` and its open entry; [`LogWriter::evict`]
//! depends on no reader. What is retired but not yet free is bounded by the pages of the pool, and
//! lasts as long as the longest turn of a shard that is awake; a stalled player delays nothing,
//! because it is a number. A reader that is too slow gets [`Lapped`] and jumps to the newest join
//! point.
//!
//! **The wake-up.** The writer publishes, then sets the dirty bit of each reading shard, fences,
//! and looks whether that shard sleeps. The shard says that it sleeps, fences, and looks at its
//! bits. Again one of two fences is first: either the writer sees the sleeper and wakes it, or the
//! sleeper sees the bit and stays. The bit is a level, the word `sleeping` is swapped, so one
//! publication wakes once and none is lost (`shard/wake.rs`).
//!
//! # Why a reader goes on from a sealed log without a gap
//!
//! A stream that moves goes on in another log, with another writer on another shard
//! (`succession.rs`). The old writer publishes what has ended, names the next log and then says
//! "sealed" (release), and marks its readers. A reader that sees "sealed" (acquire) therefore sees
//! the last `committed` of the log and its `next`, whose first offset is just that; nothing is
//! between them. The next log was made before the seal and is written by nobody until the letter
//! that carries its writer has arrived, which orders the two writers. A reader that reads
//! `committed` before the seal stops short of it, and is marked again: by the old writer after the
//! seal, or by the new one.
//!
//! The sealed log keeps its pages, its pool and its `Gc`: they are retired by the shard that wrote
//! it, as of the end of the log that is written now, which it reads as any reader does. It is
//! closed when the writer's is the last reference; until then it is bounded by the same window as
//! before.
//!
//! `tests/loom_log.rs` lets loom try the interleavings of exactly this; `tests/poison.rs` runs it
//! on two threads over pages that are overwritten the moment they are free:
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test -p grandstand-dataplane --test loom_log --release
//! cargo test -p grandstand-dataplane --test poison
//! ```

mod board;
mod entry;
mod epoch;
mod groups;
mod page_ring;
mod pages;
mod preamble;
mod reader;
mod succession;
mod trail;
mod writer;

pub use board::TurnRef;
pub use entry::{Entry, EntryKind, EntryMeta};
pub use epoch::{Epochs, Gc, Limbo};
pub use groups::{GROUP_BYTES_MAX, GROUP_PACKETS_MAX, Group};
pub use page_ring::{Lapped, PageRing};
pub use preamble::{
    PREAMBLES_MAX, Preamble, PreambleItem, PreambleKind, PreambleRef, RelayPreamble,
};
pub use reader::{Log, RANGES_MAX, RangeList, RawRange, SealReason};
pub use succession::Succession;
pub use trail::Trail;
pub use writer::{ENTRIES_MAX, ENTRY_BYTES_MAX, LogCounters, LogLimits, LogWriter};
