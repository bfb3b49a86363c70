//! Addresses: the secrets in those of SRT peers, which are shown to nobody.
//!
//! As of passphrases, [`MASK`] stands for what is set when it comes back: an address that is as one
//! of the same field is shown is that one.

use serde_json::Value;

use super::fault::Fault;
use super::passphrases::MASK;
use super::spec::Traits;
use super::srt_url::{is_srt, masked, masked_option};

/// The fields that are lists of what has an address.
const FIELDS: [&str; 2] = ["inputs", "push"];

/// Hides the secrets of a description.
pub(super) fn mask(description: &mut Value) {
    for field in FIELDS {
        let items = description.get_mut(field).and_then(Value::as_array_mut);
        for item in items.into_iter().flatten() {
            let Some(url) = item.get("url").and_then(Value::as_str).filter(|url| is_srt(url))
            else {
                continue;
            };
            item["url"] = masked(url).into();
            let params = item.get_mut("params").and_then(Value::as_object_mut);
            for (name, value) in params.into_iter().flatten() {
                if let Some(text) = value.as_str() {
                    *value = masked_option(name, text).into();
                }
            }
        }
    }
}

/// Puts back what `description` has masked, out of what is `known`.
///
/// Errors: the mask stands for nothing.
pub(super) fn unmask(description: &mut Value, known: Option<&Traits>) -> Result<(), Fault> {
    let known = known.map(|known| {
        let inputs = serde_json::to_value(&known.inputs).unwrap_or_default();
        let push = serde_json::to_value(&known.push).unwrap_or_default();
        [("inputs", inputs), ("push", push)]
    });
    for field in FIELDS {
        let items = description.get_mut(field).and_then(Value::as_array_mut);
        for (index, item) in items.into_iter().flatten().enumerate() {
            if !is_masked(item) {
                continue;
            }
            let known = known.iter().flatten().find(|(name, _)| *name == field);
            let known = known.and_then(|(_, known)| known.as_array()).into_iter().flatten();
            if !put_back(item, known) {
                let message = "*** keeps what is set, and no such address is; write it itself";
                return Err(Fault::new("invalid_value", format!("{field}[{index}].url"), message));
            }
        }
    }
    Ok(())
}

fn is_masked(item: &Value) -> bool {
    let masked = |text: &str| text.contains(MASK);
    let params = item.get("params").and_then(Value::as_object).into_iter().flatten();
    let url = item.get("url").and_then(Value::as_str).filter(|url| is_srt(url));
    url.is_some_and(|url| {
        masked(url) || params.map(|(_, value)| value).any(|v| v.as_str().is_some_and(masked))
    })
}

/// Gives `item` the address and the parameters of the one that is shown as it is.
fn put_back<'k>(item: &mut Value, known: impl Iterator<Item = &'k Value>) -> bool {
    for set in known {
        let mut shown = serde_json::json!({ "inputs": [set] });
        mask(&mut shown);
        let shown = &shown["inputs"][0];
        if shown["url"] != item["url"] {
            continue;
        }
        item["url"] = set["url"].clone();
        let params = item.get_mut("params").and_then(Value::as_object_mut);
        for (name, value) in params.into_iter().flatten() {
            if *value == shown["params"][name.as_str()] {
                *value = set["params"][name.as_str()].clone();
            }
        }
        return true;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::StreamSpec;
    use dataplane::ids::StreamName;
    use serde_json::json;

    #[test]
    fn secrets_of_addresses_are_masked_and_put_back() {
        let secret = "hunter2hunter2";
        let value = json!({
            "inputs": [
                {"url": format!("srt://h:1?passphrase={secret}"), "priority": 0},
                {"url": "srt://h:2", "priority": 1, "params": {"passphrase": secret}},
                {"url": "publish://", "priority": 2},
            ],
            "push": [{"url": format!("srt://h:3?streamid=publish:x:u:{secret}")}],
        });
        let name = StreamName::parse("a").unwrap();
        let spec = StreamSpec::read(&name, value.clone()).unwrap();
        let mut shown = serde_json::to_value(&spec).unwrap();
        mask(&mut shown);
        assert!(!shown.to_string().contains(secret), "{shown}");
        let mut back = shown.clone();
        unmask(&mut back, Some(&spec.traits)).unwrap();
        assert_eq!(StreamSpec::read(&name, back).unwrap(), spec);
        let fault = unmask(&mut shown.clone(), None).unwrap_err();
        assert_eq!((fault.code, fault.field.as_str()), ("invalid_value", "inputs[0].url"));
        shown["push"][0]["url"] = "srt://other:3?passphrase=***".into();
        let fault = unmask(&mut shown, Some(&spec.traits)).unwrap_err();
        assert_eq!(fault.field, "push[0].url");
    }
}
