//! Quota: how much of a stream may be used.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::fault::Fault;

/// How much of a stream may be used. What says nothing is not bounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct QuotaSpec {
    /// Players at the same time, whatever they speak.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub players_max: Option<u32>,
    /// Bits a second that its publisher may send, over ten seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub publish_bps_max: Option<u64>,
    /// What becomes of a publisher that sends more.
    #[serde(skip_serializing_if = "is_default")]
    pub publish_over: PublishOver,
    /// Bits a second that its players together may be sent; above it nobody new may play.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub egress_bps_max: Option<u64>,
    /// Bytes that may come and go in a period; then nobody new may play or publish.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes_max: Option<u64>,
    /// The period of those bytes.
    #[serde(skip_serializing_if = "is_default")]
    pub bytes_period: Period,
    /// What becomes of those who play when the bytes are used up.
    #[serde(skip_serializing_if = "is_default")]
    pub bytes_over: BytesOver,
}

/// What becomes of a publisher that sends too much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PublishOver {
    /// It is told of, then closed.
    #[default]
    Close,
    /// It is told of.
    Warn,
}

/// A period of the calendar, in UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Period {
    /// From the first of a month on.
    #[default]
    Month,
    /// From midnight on.
    Day,
}

/// What becomes of players when the bytes of a period are used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BytesOver {
    /// Those who play go on.
    #[default]
    Refuse,
    /// Those who play are closed.
    Close,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

impl QuotaSpec {
    /// Checks what no number may be.
    pub(super) fn check(&self) -> Result<(), Fault> {
        let zero =
            [("publish_bps_max", self.publish_bps_max), ("egress_bps_max", self.egress_bps_max)];
        match zero.into_iter().find(|&(_, max)| max == Some(0)) {
            Some((field, _)) => {
                let what = "no stream has 0 bits a second; disable it, or leave the field out";
                Err(Fault::new("invalid_quota", field, what))
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_said_is_read_and_written_and_nothing_else() {
        let read = super::super::fault::read::<QuotaSpec>;
        let all = json!({
            "players_max": 5, "publish_bps_max": 1, "publish_over": "warn", "egress_bps_max": 2,
            "bytes_max": 3, "bytes_period": "day", "bytes_over": "close",
        });
        let spec = read(all.clone()).unwrap();
        assert_eq!(serde_json::to_value(spec).unwrap(), all);
        assert_eq!(serde_json::to_value(QuotaSpec::default()).unwrap(), json!({}));
        assert!(spec.check().is_ok() && QuotaSpec::default().check().is_ok());
        for (wrong, code, field) in [
            (json!({"player_max": 5}), "unknown_field", "player_max"),
            (json!({"players_max": -1}), "invalid_value", "players_max"),
            (json!({"bytes_period": "week"}), "invalid_value", "bytes_period"),
        ] {
            let fault = read(wrong).unwrap_err();
            assert_eq!((fault.code, fault.field.as_str()), (code, field));
        }
        let zero = read(json!({"egress_bps_max": 0})).unwrap().check().unwrap_err();
        assert_eq!((zero.code, zero.field.as_str()), ("invalid_quota", "egress_bps_max"));
    }
}
