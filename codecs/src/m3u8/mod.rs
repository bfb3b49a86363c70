//! HLS playlists, written.
//!
//! Spec: RFC 8216. `media` lists the segments of one rendition, `multivariant` the renditions.
//! In/Out: text is appended to the caller's buffer; every writer of a URI answers with the offset
//! behind it, so that a server can put a query of its own there.
//! Not here: which segments are listed and how they are named.

mod media;
mod multivariant;

pub use media::{CONTENT_TYPE, MediaPlaylist, MediaSegment, end_list};
pub use multivariant::{Variant, multivariant_head};
