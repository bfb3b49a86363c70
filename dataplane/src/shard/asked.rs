//! Asked: what a connection wants to do, while somebody is asked whether it may, and what it was
//! allowed since.

use std::time::Instant;

use codecs::srt::Passphrase;

use super::verdicts::{Permit, Term};
use super::view_table::Print;
use super::views::View;
use crate::control::Intent;
use crate::ids::{SecretDigest, SessionId, StreamId, StreamName};
use crate::session::PlayOptions;
use crate::session::mpegts::TransportTerms;

/// Bytes in which the length of a question is counted.
const QUESTION_UNIT: usize = 64;

/// A question to the control plane or to a home shard.
#[derive(Debug)]
pub(crate) struct Asked {
    pub intent: Intent,
    /// The name that was asked for, then the one that was granted.
    pub stream: StreamName,
    /// Of a publish that was allowed: what the publication is called.
    pub id: Option<StreamId>,
    /// The secret that was shown, to be compared.
    pub key: SecretDigest,
    /// Of a play that was allowed: only with the publisher's key.
    pub same_key: bool,
    /// Of a play that was allowed: it waits for its stream.
    pub waits: bool,
    /// Of a play that was allowed: it counts in no quota.
    pub internal: bool,
    /// Of a play that was allowed: nobody is told of it.
    pub unlisted: bool,
    /// It waits, and counts as one that does.
    pub idle: bool,
    pub play: Option<PlayOptions>,
    /// For a viewer of HLS; in a box, because nobody else needs room for it.
    pub viewer: Option<Box<ViewerAsked>>,
    /// Of a peer of SRT that was allowed: what it encrypts with, if not with what all do.
    pub passphrase: Option<Box<Passphrase>>,
    /// Of a publisher that was allowed: what is chosen of its transport stream.
    pub transport: Option<Box<TransportTerms>>,
    pub deadline: Instant,
    /// The control plane answered; the home shard is asked now.
    pub allowed: bool,
    /// How long the question to the control plane is, in [`QUESTION_UNIT`]s.
    pub question_units: u8,
}

/// What is asked of a viewer of HLS.
#[derive(Debug)]
pub(crate) struct ViewerAsked {
    /// What the verdict is remembered as.
    pub permit: Permit,
    /// Which viewer it is.
    pub view: View,
    /// What its view is recognised by, if it showed a token.
    pub print: Option<Print>,
    /// The control plane was asked this very question; what was remembered of verdicts then.
    pub epoch: Option<u32>,
    /// How long it was allowed.
    pub term: Term,
    /// Since when he is in by what he shows, if he is.
    pub since: Option<Instant>,
    /// The number of a new viewer who is to be told from others.
    pub issued: Option<SessionId>,
}

impl Asked {
    /// The question to the control plane has so many bytes.
    pub(super) fn set_question_bytes(&mut self, bytes: usize) {
        self.question_units = u8::try_from(bytes.div_ceil(QUESTION_UNIT)).unwrap_or(u8::MAX);
    }

    /// Bytes of the question that the control plane still has.
    pub(super) const fn question_bytes(&self) -> usize {
        if self.allowed { 0 } else { self.question_units as usize * QUESTION_UNIT }
    }

    pub(super) const fn new(
        intent: Intent,
        stream: StreamName,
        play: Option<PlayOptions>,
        key: SecretDigest,
        deadline: Instant,
    ) -> Self {
        Self {
            intent,
            stream,
            id: None,
            key,
            same_key: false,
            waits: false,
            internal: false,
            question_units: 0,
            unlisted: false,
            idle: false,
            play,
            viewer: None,
            passphrase: None,
            transport: None,
            deadline,
            allowed: false,
        }
    }
}
