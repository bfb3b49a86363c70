//! Row: what is kept of a publication that was announced, and of what is made of it.
//!
//! Limits: [`OUTPUTS_MAX`] outputs, so that a row is one value of the store.

use std::collections::VecDeque;

use dataplane::ids::StreamName;
use serde::{Deserialize, Serialize};

use super::wire::Output;
use crate::store::VALUE_BYTES_MAX;

/// Outputs of a publication that wait to be told at most.
pub(super) const OUTPUTS_MAX: usize = 64;
/// Bytes of an output as it is kept, at most: two texts of 512 letters, each of which may be
/// escaped, and a few words.
pub(super) const OUTPUT_BYTES_MAX: usize = 4 << 10;
const _: () = assert!(2 * OUTPUTS_MAX * OUTPUT_BYTES_MAX <= VALUE_BYTES_MAX, "a row is one value");
/// Bytes of the words of a row, and of each output in it.
const ROW_BYTES: usize = 128;
/// The form of the rows.
const VERSION: u8 = 1;

/// What the application is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Phase {
    /// That the publication can be played.
    Available,
    /// Nothing now.
    Told,
    /// That it is over.
    Closed,
}

/// A publication that was announced, as it is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Row {
    version: u8,
    /// The channel.
    pub(super) channel: String,
    /// `WIDTHxHEIGHT-FPS` of what the encoder of this node makes.
    pub(super) resolution: String,
    /// What is to be told.
    pub(super) phase: Phase,
    /// What attached encoders make of it and is to be told, in their order.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pub(super) outputs: VecDeque<Output>,
}

impl Row {
    pub(super) fn new(channel: &StreamName, resolution: String) -> Self {
        let (channel, phase) = (channel.to_string(), Phase::Available);
        Self { version: VERSION, channel, resolution, phase, outputs: VecDeque::new() }
    }

    /// Removes the output that `told` was about; true if there is another one.
    pub(super) fn take(&mut self, told: &Self) -> bool {
        if told.outputs.front().is_some() && self.outputs.front() == told.outputs.front() {
            self.outputs.pop_front();
        }
        !self.outputs.is_empty()
    }

    /// The same with the first of its outputs alone, which is what is told next.
    pub(super) fn first(&self) -> Self {
        let Self { version, channel, resolution, phase, outputs } = self;
        let outputs = outputs.front().cloned().into_iter().collect();
        let (channel, resolution) = (channel.clone(), resolution.clone());
        Self { version: *version, channel, resolution, phase: *phase, outputs }
    }

    /// The bytes that it is kept in, nearly.
    pub(super) fn bytes(&self) -> usize {
        let outputs: usize = self.outputs.iter().map(Output::kept_bytes).sum();
        ROW_BYTES + self.channel.len() + self.resolution.len() + outputs
    }

    /// As the store keeps it.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a row is plain JSON")
    }

    /// What the store kept; `None` if it is of another form.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok().filter(|row: &Self| row.version == VERSION)
    }
}

impl Output {
    /// The bytes that it is kept in, nearly.
    pub(super) const fn kept_bytes(&self) -> usize {
        let Self { kind: _, resolution, index_file, start_time } = self;
        ROW_BYTES + resolution.len() + index_file.len() + start_time.len()
    }
}
