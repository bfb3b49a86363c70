//! Mode: whether a stream is recorded, and as what.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Whether a stream is recorded, and as what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RecordMode {
    /// It is not.
    #[default]
    Off,
    /// As files of FLV.
    Flv,
}
