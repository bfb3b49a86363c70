//! H.265 / HEVC: NAL unit types, sequence parameter sets, hvcC.
//!
//! Spec: ITU-T H.265; ISO/IEC 14496-15 8.3.3 (hvcC) and Annex E (codec string).

mod nal_type;
mod profile;
mod record;
mod sps;

pub use nal_type::NalType;
pub use profile::ProfileTierLevel;
pub use record::{HevcDecoderConfigurationRecord, UNITS_MAX};
pub use sps::Sps;
