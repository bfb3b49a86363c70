//! Addresses: the secrets in those of peers that the node connects to, which are shown to nobody.
//!
//! As of passphrases, [`MASK`] stands for what is set when it comes back: an address that is as one
//! of the same field is shown is that one. Several that are shown alike are taken in their order,
//! as long as all of them come back.

use serde_json::Value;

use super::fault::Fault;
use super::passphrases::MASK;
use super::spec::Traits;
use super::{rtmp_url, srt_url};

/// The fields that are lists of what has an address.
const FIELDS: [&str; 2] = ["inputs", "push"];

/// What is spoken with those whose addresses have secrets.
#[derive(Clone, Copy)]
enum Scheme {
    Srt,
    Rtmp,
}

impl Scheme {
    fn of(field: &str, url: &str) -> Option<Self> {
        match srt_url::is_srt(url) {
            true => Some(Self::Srt),
            // One that is pushed to is not connected to yet, and kept as it is.
            false => (field == FIELDS[0] && rtmp_url::is_pull(url)).then_some(Self::Rtmp),
        }
    }

    fn masked(self, url: &str) -> String {
        match self {
            Self::Srt => srt_url::masked(url),
            Self::Rtmp => rtmp_url::masked(url),
        }
    }

    fn masked_param(self, name: &str, value: &str) -> String {
        match self {
            Self::Srt => srt_url::masked_option(name, value),
            Self::Rtmp => MASK.to_owned(),
        }
    }
}

/// Hides the secrets of a description.
pub(super) fn mask(description: &mut Value) {
    for field in FIELDS {
        let items = description.get_mut(field).and_then(Value::as_array_mut);
        for item in items.into_iter().flatten() {
            let url = item.get("url").and_then(Value::as_str);
            let Some((url, scheme)) = url.and_then(|url| Some((url, Scheme::of(field, url)?)))
            else {
                continue;
            };
            item["url"] = scheme.masked(url).into();
            let params = item.get_mut("params").and_then(Value::as_object_mut);
            for (name, value) in params.into_iter().flatten() {
                if let Some(text) = value.as_str() {
                    *value = scheme.masked_param(name, text).into();
                }
            }
        }
    }
}

/// Puts back what `description` has masked, out of what is `known`.
///
/// Errors: the mask stands for nothing.
pub(super) fn unmask(description: &mut Value, known: Option<&Traits>) -> Result<(), Fault> {
    let known = known.map_or(
        Value::Null,
        |known| serde_json::json!({ "inputs": known.inputs, "push": known.push }),
    );
    let mut shown = known.clone();
    mask(&mut shown);
    for field in FIELDS {
        let Some(items) = description.get_mut(field).and_then(Value::as_array_mut) else {
            continue;
        };
        let [known, shown] = [&known, &shown].map(|of| of[field].as_array());
        let known: Vec<_> = known.into_iter().flatten().zip(shown.into_iter().flatten()).collect();
        let urls: Vec<_> = items.iter().map(|item| item["url"].clone()).collect();
        for (index, item) in items.iter_mut().enumerate() {
            if !is_masked(field, item) {
                continue;
            }
            let url = &urls[index];
            let alike: Vec<_> = known.iter().filter(|(_, shown)| shown["url"] == *url).collect();
            let [before, all] = [&urls[..index], &urls].map(|of| of.iter().filter(|u| *u == url));
            let is_clear = alike.len() == 1 || alike.len() == all.count();
            let Some((set, shown)) = alike.get(before.count()).filter(|_| is_clear) else {
                let message = match alike.len() {
                    0 | 1 => "*** keeps what is set, and no such address is; write it itself",
                    _ => "*** may be each of several addresses that are set; write it itself",
                };
                return Err(Fault::new("invalid_value", format!("{field}[{index}].url"), message));
            };
            put_back(item, set, shown);
        }
    }
    Ok(())
}

fn is_masked(field: &str, item: &Value) -> bool {
    let masked = |text: &str| text.contains(MASK);
    let params = item.get("params").and_then(Value::as_object).into_iter().flatten();
    let url =
        item.get("url").and_then(Value::as_str).filter(|url| Scheme::of(field, url).is_some());
    url.is_some_and(|url| {
        masked(url) || params.map(|(_, value)| value).any(|v| v.as_str().is_some_and(masked))
    })
}

/// Gives `item` the address and the parameters that are set, where it has what is shown of them.
fn put_back(item: &mut Value, set: &Value, shown: &Value) {
    item["url"] = set["url"].clone();
    let params = item.get_mut("params").and_then(Value::as_object_mut);
    for (name, value) in params.into_iter().flatten() {
        if *value == shown["params"][name.as_str()] {
            *value = set["params"][name.as_str()].clone();
        }
    }
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
                {"url": format!("rtmp://h/live/{secret}?key={secret}"), "priority": 3,
                    "params": {"token": secret}},
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

    #[test]
    fn addresses_that_are_shown_alike_come_back_in_their_order_or_not_at_all() {
        let push = |key: &str| json!({"url": format!("srt://h:3?streamid=publish:live/{key}")});
        let value = json!({"push": [push("hunter1"), push("hunter2"), push("x/hunter3")]});
        let name = StreamName::parse("a").unwrap();
        let spec = StreamSpec::read(&name, value).unwrap();
        let mut shown = serde_json::to_value(&spec).unwrap();
        mask(&mut shown);
        assert!(!shown.to_string().contains("hunter"), "{shown}");
        assert_eq!(shown["push"][0]["url"], shown["push"][1]["url"]);
        let mut back = shown.clone();
        unmask(&mut back, Some(&spec.traits)).unwrap();
        assert_eq!(StreamSpec::read(&name, back).unwrap(), spec);
        let pushes = shown["push"].as_array_mut().unwrap();
        pushes.remove(1);
        let fault = unmask(&mut shown.clone(), Some(&spec.traits)).unwrap_err();
        assert!(fault.message.contains("each of several"), "{fault}");
        shown["push"].as_array_mut().unwrap().remove(0);
        unmask(&mut shown, Some(&spec.traits)).unwrap();
        assert_eq!(shown["push"][0]["url"], "srt://h:3?streamid=publish:live/x/hunter3");
    }
}
