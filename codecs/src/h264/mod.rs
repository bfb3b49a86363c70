//! H.264 / AVC: NAL unit types, sequence parameter sets, avcC.
//!
//! Spec: ITU-T H.264; ISO/IEC 14496-15 5.3.3 (avcC); RFC 6381 3.3 (codec string).

mod nal_type;
mod record;
mod sps;

pub use nal_type::NalType;
pub use record::{AvcDecoderConfigurationRecord, PPS_COUNT_MAX, SPS_COUNT_MAX};
pub use sps::Sps;
