//! The codecs' limits, from and back to ours.

use codecs::amf0;
use codecs::rtmp::chunk_reader::ChunkLimits;

use crate::Error;
use crate::config::{LimitId, Limits};

/// The chunk reader's share of the limits; `partial` names the bound of unfinished messages.
pub(super) fn chunk_limits(limits: &Limits, partial: LimitId) -> ChunkLimits {
    let bytes = |id| u32::try_from(limits.get(id)).unwrap_or(u32::MAX);
    ChunkLimits {
        csids_max: usize::try_from(limits.rtmp_chunk_streams_max).unwrap_or(usize::MAX),
        message_bytes_max: bytes(LimitId::RtmpMessageBytesMax),
        partial_bytes_max: bytes(partial),
    }
}

/// The AMF decoder's share.
pub(super) fn amf_limits(limits: &Limits) -> amf0::Limits {
    let count = |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX);
    amf0::Limits {
        depth_max: count(limits.amf_depth_max),
        elements_max: count(limits.amf_elements_max),
        string_bytes_max: count(limits.rtmp_command_bytes_max),
    }
}

/// A limit that a codec enforced, by our name for it; other errors are malformed bytes.
pub(super) fn limit_of(error: codecs::Error) -> Error {
    let codecs::Error::TooLarge { what, .. } = error else { return Error::Malformed(error) };
    Error::Limit(match what {
        "rtmp.csids" => LimitId::RtmpChunkStreamsMax,
        "rtmp.message_bytes" => LimitId::RtmpMessageBytesMax,
        "rtmp.partial_bytes" => LimitId::RtmpPartialBytesMax,
        "amf.depth" => LimitId::AmfDepthMax,
        "amf.elements" => LimitId::AmfElementsMax,
        "amf.string_bytes" => LimitId::RtmpCommandBytesMax,
        _ => return Error::Malformed(error),
    })
}
