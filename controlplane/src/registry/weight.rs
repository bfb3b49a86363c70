//! Weight: the bytes of memory that what is declared takes.
//!
//! Units: bytes, as the allocator gives them: a little more than a text or a list asks for. What a
//! change of a stream takes until it is told is part of the stream's weight.

use std::collections::BTreeMap;

use super::desired::{Declared, Entry};
use super::input::Input;
use super::outputs::PushDestination;
use super::prefix::Prefix;
use super::processing::{Dvr, Thumbnail, Transcoder, VideoProfile, Watermark};
use super::resolved::{Resolved, Values};
use super::spec::{StreamSpec, Template, Traits};
use super::tenant::{Tenant, TenantName};

/// Bytes of all streams and templates, unless they are told.
pub(crate) const DECLARED_BYTES_MAX: u64 = 64 << 20;
/// A tenant's name and its place among all.
const TENANT_BYTES: usize = 256;
/// What the allocator adds to each piece.
const PIECE_BYTES: usize = 24;
/// A stream's name and its place among all, and the event that tells of its change.
const STREAM_BYTES: usize = 512;
/// A template's places among all, and those of its prefixes.
const TEMPLATE_BYTES: usize = 512;

/// What lies on the heap of a value, beside the value itself.
pub(super) trait Weight {
    fn heap(&self) -> usize;
}

impl Weight for String {
    fn heap(&self) -> usize {
        if self.is_empty() { 0 } else { self.len() + PIECE_BYTES }
    }
}

impl Weight for u16 {
    fn heap(&self) -> usize {
        0
    }
}

impl<T: Weight> Weight for Vec<T> {
    fn heap(&self) -> usize {
        let items: usize = self.iter().map(|item| size_of::<T>() + item.heap()).sum();
        if self.is_empty() { 0 } else { items + PIECE_BYTES }
    }
}

impl<T: Weight> Weight for Option<T> {
    fn heap(&self) -> usize {
        self.as_ref().map_or(0, T::heap)
    }
}

impl<T: Weight> Weight for Box<T> {
    fn heap(&self) -> usize {
        PIECE_BYTES + size_of::<T>() + T::heap(self)
    }
}

impl Weight for BTreeMap<String, String> {
    /// Nodes of a tree are half empty at worst.
    fn heap(&self) -> usize {
        let pair =
            |(key, value): (&String, &String)| 4 * size_of::<String>() + key.heap() + value.heap();
        self.iter().map(pair).sum()
    }
}

impl Weight for Prefix {
    fn heap(&self) -> usize {
        self.as_str().len() + PIECE_BYTES
    }
}

impl Weight for TenantName {
    /// With the two counts beside its letters.
    fn heap(&self) -> usize {
        self.as_str().len() + 2 * size_of::<usize>() + PIECE_BYTES
    }
}

impl Weight for Tenant {
    fn heap(&self) -> usize {
        self.name.heap() + self.description.heap()
    }
}

/// What is known of a peer that the node connects to, here and on its shard: its errors above all.
const DIAL_BYTES: usize = 3 << 10;

impl Weight for Input {
    fn heap(&self) -> usize {
        let Self { url, priority: _, headers, params, program: _, pids, net: _ } = self;
        let dialled = if self.pulled(None).is_some() { DIAL_BYTES + 2 * url.heap() } else { 0 };
        url.heap() + headers.heap() + params.heap() + pids.heap() + dialled
    }
}

impl Weight for PushDestination {
    fn heap(&self) -> usize {
        let dialled = if self.place().is_ok() { DIAL_BYTES + 2 * self.url.heap() } else { 0 };
        self.url.heap() + self.comment.heap() + dialled
    }
}

impl Weight for VideoProfile {
    fn heap(&self) -> usize {
        let Self { codec, preset, profile, level, sar, resize_mode, .. } = self;
        [codec, preset, profile, level, sar, resize_mode].map(Weight::heap).iter().sum()
    }
}

impl Weight for Transcoder {
    fn heap(&self) -> usize {
        let Self { mode, video, audio, decoder, global, extra_args } = self;
        let words = [mode, &video.interlace, &audio.codec, &audio.language];
        let words: usize = words.map(Weight::heap).iter().sum();
        let more = decoder.name.heap() + global.hw.heap() + extra_args.heap();
        words + video.profiles.heap() + more
    }
}

impl Weight for Dvr {
    fn heap(&self) -> usize {
        self.storage_path.heap()
    }
}

impl Weight for Watermark {
    fn heap(&self) -> usize {
        let Self { kind, text, font_file, font_color, filename, position, x, y, .. } = self;
        [kind, text, font_file, font_color, filename, position, x, y].map(Weight::heap).iter().sum()
    }
}

impl Weight for Thumbnail {
    fn heap(&self) -> usize {
        self.output_dir.heap()
    }
}

impl Weight for Traits {
    fn heap(&self) -> usize {
        let Self {
            name,
            description,
            tags,
            tenant,
            quota: _,
            stream_key: _,
            auth: _,
            srt_passphrase,
            mpegts: _,
            record: _,
            inputs,
            protocols: _,
            push,
            transcoder,
            dvr,
            watermark,
            thumbnail,
            metadata,
        } = self;
        let texts = name.heap() + description.heap() + tags.heap() + metadata.heap();
        let passphrases = 2 * PIECE_BYTES + srt_passphrase.bytes();
        let passphrases = if srt_passphrase.is_empty() { 0 } else { passphrases };
        let texts = texts + tenant.heap() + passphrases;
        let processing = transcoder.heap() + dvr.heap() + watermark.heap() + thumbnail.heap();
        texts + inputs.heap() + push.heap() + processing
    }
}

impl Weight for StreamSpec {
    fn heap(&self) -> usize {
        self.template.heap() + self.traits.heap()
    }
}

impl Weight for Template {
    fn heap(&self) -> usize {
        self.prefixes.heap() + self.traits.heap()
    }
}

impl<T: Weight> Weight for Declared<T> {
    fn heap(&self) -> usize {
        let Self { file, stored } = self;
        let whole = |spec: &T| PIECE_BYTES + size_of::<T>() + spec.heap();
        [file, stored].into_iter().flatten().map(|spec| whole(spec)).sum()
    }
}

impl Weight for Resolved {
    fn heap(&self) -> usize {
        let values = match &self.traits {
            Values::Stream(_) | Values::Template(_) => 0,
            Values::Mixed(traits) => traits.heap(),
        };
        // One word for each input, and the list of them.
        self.template.heap() + values + 2 * PIECE_BYTES
    }
}

/// Bytes of a declared stream.
pub(super) fn of_stream(entry: &Entry) -> usize {
    STREAM_BYTES + entry.declared.heap() + size_of::<Resolved>() + entry.resolved.heap()
}

/// Bytes of a template, and of what undeclared streams take from it.
pub(super) fn of_template(declared: &Declared<Template>) -> usize {
    TEMPLATE_BYTES + declared.heap() + size_of::<Resolved>()
}

/// Bytes of a tenant.
pub(super) fn of_tenant(declared: &Declared<Tenant>) -> usize {
    TENANT_BYTES + declared.heap()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    use super::super::change::{Change, Refused};
    use super::super::desired::Registry;
    use dataplane::ids::StreamName;

    fn put(name: &str, value: serde_json::Value) -> Change {
        Change::PutStream { name: StreamName::parse(name).unwrap(), value }
    }

    #[test]
    fn a_stream_weighs_at_least_what_is_said_of_it() {
        let long = "x".repeat(250);
        let said = json!({
            "name": long, "description": long, "tags": [long, long],
            "inputs": [{ "url": "publish://", "headers": { "a": long }, "pids": [1, 2, 3] }],
            "push": [{ "url": format!("rtmp://h/{long}"), "comment": long }],
            "transcoder": { "extra_args": [long], "video": { "profiles": [{ "codec": long }] } },
            "dvr": { "storage_path": long },
            "watermark": { "type": "text", "text": long },
            "thumbnail": { "output_dir": long },
            "metadata": { "owner": long },
        });
        let mut registry = Registry::default();
        registry.apply(put("bare", json!({}))).unwrap();
        let bare = registry.bytes();
        let all = [STREAM_BYTES, size_of::<StreamSpec>(), size_of::<Resolved>()];
        assert!(bare >= all.iter().sum::<usize>() as u64, "{bare}");
        registry.apply(put("rich", said)).unwrap();
        let rich = registry.bytes() - bare;
        assert!(rich >= bare + 13 * 250, "{rich}");
        let name = StreamName::parse("rich").unwrap();
        registry.apply(Change::DeleteStream { name }).unwrap();
        assert_eq!(registry.bytes(), bare);
        registry.apply(put("bare", json!({ "name": long }))).unwrap();
        assert_eq!(registry.bytes(), bare + 250 + PIECE_BYTES as u64);
    }

    #[test]
    fn a_template_of_many_streams_is_kept_once_unless_they_differ() {
        const STREAMS: usize = 100;
        let template = |size: usize| Change::PutTemplate {
            code: "all".into(),
            value: json!({ "description": "x".repeat(size) }),
        };
        let mut registry = Registry::default();
        registry.apply(template(1)).unwrap();
        for number in 0..STREAMS {
            registry.apply(put(&format!("s{number}"), json!({ "template": "all" }))).unwrap();
        }
        let before = registry.bytes();
        registry.apply(template(4_001)).unwrap();
        assert_eq!(registry.bytes(), before + 4_000, "once");
        for number in 0..STREAMS {
            let own = json!({ "template": "all", "name": "own" });
            registry.apply(put(&format!("s{number}"), own)).unwrap();
        }
        let mixed = registry.bytes() - before;
        assert!(mixed >= (STREAMS * 4_001) as u64, "each has a mixture of its own: {mixed}");
        registry.bytes_max = registry.bytes() + 1_000;
        let refused = registry.apply(template(4_096)).unwrap_err();
        assert!(matches!(refused, Refused::TooHeavy { .. }), "{refused}");
        let held = registry.bytes();
        registry.apply(template(1)).unwrap();
        assert!(registry.bytes() + (STREAMS * 4_000) as u64 <= held);
    }

    #[test]
    fn what_is_beyond_the_bound_may_shrink_and_not_grow() {
        let mut registry = Registry::default();
        registry.apply(put("a", json!({ "description": "x".repeat(4_000) }))).unwrap();
        registry.apply(put("b", json!({}))).unwrap();
        registry.bytes_max = 1_000;
        let refused = registry.apply(put("c", json!({}))).unwrap_err();
        assert!(refused.to_string().ends_with("raise streams.declared_bytes_max"), "{refused}");
        assert_eq!(refused.code(), "full");
        registry.apply(put("a", json!({ "description": "x" }))).unwrap();
        let name = StreamName::parse("b").unwrap();
        registry.apply(Change::DeleteStream { name }).unwrap();
        assert_eq!(registry.len(), 1);
    }
}
