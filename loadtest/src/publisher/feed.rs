//! What a publication sends: a synthetic stream, or a recorded one.

use std::sync::Arc;

use crate::client::Client;
use crate::clip::{Clip, ClipPlayer};
use crate::piece::PieceKind;
use crate::source::{Source, SourceFrame, SourceSettings};

/// A recorded stream instead of a synthetic one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// The stream, shared by all who publish it.
    pub clip: Arc<Clip>,
    /// Whether pictures are stamped.
    pub stamps: bool,
}

/// Frames in their time.
pub(super) enum Feed {
    Synthetic(Box<Source>),
    Recorded(ClipPlayer),
}

impl Feed {
    pub(super) fn new(settings: SourceSettings, recording: Option<&Recording>) -> Self {
        match recording {
            None => Self::Synthetic(Box::new(Source::new(settings))),
            Some(Recording { clip, stamps }) => {
                Self::Recorded(ClipPlayer::new(Arc::clone(clip), *stamps))
            }
        }
    }

    /// When the next frame is due, in nanoseconds from the start.
    pub(super) fn due_ns(&self) -> u64 {
        match self {
            Self::Synthetic(source) => source.due_ns(),
            Self::Recorded(player) => player.due_ns(),
        }
    }

    /// What a decoder has to know before the first frame: tag bodies.
    pub(super) fn heads(&self) -> Vec<(PieceKind, Vec<u8>)> {
        match self {
            Self::Synthetic(source) => {
                let audio = source.audio_config().map(|config| (PieceKind::Audio, config));
                let video = (PieceKind::Video, source.video_config());
                std::iter::once(video).chain(audio).collect()
            }
            Self::Recorded(player) => {
                player.clip().heads().map(|(kind, body)| (kind, body.to_vec())).collect()
            }
        }
    }

    /// Appends what a decoder has to know before the first frame.
    pub(super) fn send_heads(&self, client: &Client, out: &mut Vec<u8>) {
        if let Self::Recorded(player) = self
            && let Some(metadata) = player.clip().metadata()
        {
            client.send_metadata(metadata, out);
        }
        for (kind, body) in self.heads() {
            client.send_media(kind, 0, &body, out);
        }
    }

    /// The next frame, stamped.
    pub(super) fn frame(&mut self, sent_ns: u64) -> SourceFrame<'_> {
        match self {
            Self::Synthetic(source) => source.frame(sent_ns),
            Self::Recorded(player) => player.tag(sent_ns),
        }
    }
}
