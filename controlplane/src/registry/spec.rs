//! Spec: a stream as somebody wants it, and a template that streams take from.

use std::collections::BTreeMap;

use dataplane::ids::StreamName;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::fault::{Fault, few, read, short};
use super::input::{self, Input};
use super::key_hash;
use super::mpegts::Mpegts;
use super::outputs::{self, Protocols, PushDestination};
use super::passphrases::Passphrases;
use super::prefix::{PREFIXES_MAX, Prefix};
use super::processing::{Dvr, Thumbnail, Transcoder, Watermark};
use super::quota::QuotaSpec;
use super::tenant::{self, TenantName};
use crate::auth::{KeyHash, Ways};
use crate::record::RecordMode;

/// Bytes of a name at most.
pub(super) const NAME_BYTES_MAX: usize = 256;
/// Bytes of a description at most.
pub(super) const DESCRIPTION_BYTES_MAX: usize = 4_096;
/// Tags, and pairs of metadata, at most.
pub(super) const TAGS_MAX: usize = 64;
/// Bytes of a tag, and of a name or a value of metadata, at most.
pub(super) const TAG_BYTES_MAX: usize = 256;

/// What a stream and a template say alike. An empty field of a stream takes the whole value of its
/// template; a field that says something replaces it whole.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Traits {
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(max_length = 256)]
    pub name: String,
    /// For people.
    #[serde(skip_serializing_if = "String::is_empty")]
    #[schema(max_length = 4096)]
    pub description: String,
    /// For people and filters.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 64)]
    pub tags: Vec<String>,
    /// Whose it is: the code of a tenant, declared or not.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "tenant::read")]
    #[schema(value_type = Option<String>, max_length = 64)]
    pub tenant: Option<TenantName>,
    /// How much of it may be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quota: Option<QuotaSpec>,
    /// The key that a publisher shows. It is written in plain, kept hashed, and shown as its hash
    /// (`sha256:..`), which may be written as well; an empty one is none.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "key_hash::read")]
    #[schema(value_type = Option<String>, max_length = 256)]
    pub stream_key: Option<KeyHash>,
    /// How those are judged who publish and play it, where that is not as elsewhere.
    #[serde(skip_serializing_if = "Ways::is_empty")]
    pub auth: Ways,
    /// What peers of SRT encrypt it with, if that is not what all others do.
    #[serde(skip_serializing_if = "Passphrases::is_empty")]
    pub srt_passphrase: Passphrases,
    /// What becomes of the transport stream that it is published with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mpegts: Option<Mpegts>,
    /// Where media comes from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 16)]
    pub inputs: Vec<Input>,
    /// How it may be played.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocols: Option<Protocols>,
    /// Where it is pushed to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 16)]
    pub push: Vec<PushDestination>,
    /// Whether it is recorded, and as what; what the application says of it decides without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<RecordMode>,
    /// How it is transcoded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transcoder: Option<Box<Transcoder>>,
    /// How it is recorded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dvr: Option<Box<Dvr>>,
    /// What is drawn over it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub watermark: Option<Box<Watermark>>,
    /// Pictures of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub thumbnail: Option<Box<Thumbnail>>,
    /// What an application keeps with it: at most 64 pairs, each name and value of at most 256
    /// bytes.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

/// A stream as somebody wants it.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct StreamSpec {
    /// The template that empty fields are taken from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    /// Nobody may publish or play it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
    /// The rest.
    #[serde(flatten)]
    pub traits: Traits,
}

/// What many streams have in common.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Template {
    /// Undeclared streams below these names are streams of this template.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prefixes: Vec<Prefix>,
    /// What its streams take where they say nothing.
    #[serde(flatten)]
    pub traits: Traits,
}

/// Fields of a stream that no template has, and the other way round.
const STREAM_FIELDS: &[&str] = &["code", "template", "disabled"];
const TEMPLATE_FIELDS: &[&str] = &["code", "prefixes"];

impl StreamSpec {
    /// Reads and checks the description of the stream `code`, as JSON.
    ///
    /// Errors: the first field that is wrong.
    pub fn read(code: &StreamName, value: Value) -> Result<Self, Fault> {
        let mut object =
            object(value, STREAM_FIELDS, |names| traits(names, STREAM_FIELDS).map(drop))?;
        same_code(&mut object, code.as_str(), "invalid_code")?;
        let template = take::<Option<String>>(&mut object, "template")?;
        let spec = Self {
            template: template.filter(|code| !code.is_empty()),
            disabled: take(&mut object, "disabled")?,
            traits: traits(object, STREAM_FIELDS)?,
        };
        spec.traits.check(Some(code.as_str()))?;
        Ok(spec)
    }

    /// What holds for the stream: its own values, and those of `template` where it has none.
    #[must_use]
    pub fn merged(&self, template: &Template) -> Traits {
        let (own, base) = (self.traits.clone(), &template.traits);
        let text = |own: String, base: &String| if own.is_empty() { base.clone() } else { own };
        Traits {
            name: text(own.name, &base.name),
            description: text(own.description, &base.description),
            tags: list(own.tags, &base.tags),
            quota: own.quota.or(base.quota),
            tenant: own.tenant.or_else(|| base.tenant.clone()),
            stream_key: own.stream_key.or_else(|| base.stream_key.clone()),
            auth: own.auth.or(base.auth),
            srt_passphrase: own.srt_passphrase.or(&base.srt_passphrase),
            mpegts: own.mpegts.or(base.mpegts),
            inputs: list(own.inputs, &base.inputs),
            protocols: own.protocols.or(base.protocols),
            push: list(own.push, &base.push),
            record: own.record.or(base.record),
            transcoder: own.transcoder.or_else(|| base.transcoder.clone()),
            dvr: own.dvr.or_else(|| base.dvr.clone()),
            watermark: own.watermark.or_else(|| base.watermark.clone()),
            thumbnail: own.thumbnail.or_else(|| base.thumbnail.clone()),
            metadata: match own.metadata.is_empty() {
                true => base.metadata.clone(),
                false => own.metadata,
            },
        }
    }
}

impl Template {
    /// Reads and checks the description of the template `code`, as JSON.
    ///
    /// Errors: the first field that is wrong.
    pub fn read(code: &str, value: Value) -> Result<Self, Fault> {
        let mut object =
            object(value, TEMPLATE_FIELDS, |names| traits(names, TEMPLATE_FIELDS).map(drop))?;
        if !is_code(code) {
            let message = "a template's code has letters, digits, _ and -, at most 128";
            return Err(Fault::new("invalid_template_code", "code", message));
        }
        same_code(&mut object, code, "invalid_template_code")?;
        let words = take::<Vec<String>>(&mut object, "prefixes")?;
        few("prefixes", &words, PREFIXES_MAX)?;
        let mut prefixes = Vec::new();
        for (index, word) in words.iter().enumerate() {
            let fault =
                |what: &str| Fault::new("invalid_prefix", format!("prefixes[{index}]"), what);
            let prefix = Prefix::parse(word).ok_or_else(|| {
                fault("a prefix is a stream name, which / may follow, or live for every stream")
            })?;
            if prefixes.contains(&prefix) {
                return Err(fault("it is listed twice; remove one"));
            }
            prefixes.push(prefix);
        }
        let template = Self { prefixes, traits: traits(object, TEMPLATE_FIELDS)? };
        template.traits.check(None)?;
        Ok(template)
    }
}

impl Traits {
    /// Checks what types alone do not say; `code` is that of the stream, `None` for a template.
    fn check(&self, code: Option<&str>) -> Result<(), Fault> {
        short("name", &self.name, NAME_BYTES_MAX)?;
        short("description", &self.description, DESCRIPTION_BYTES_MAX)?;
        few("tags", &self.tags, TAGS_MAX)?;
        for tag in &self.tags {
            short("tags", tag, TAG_BYTES_MAX)?;
        }
        if self.metadata.len() > TAGS_MAX {
            return Err(Fault::new("too_many", "metadata", format!("at most {TAGS_MAX} fit")));
        }
        for (name, value) in &self.metadata {
            short("metadata", name, TAG_BYTES_MAX)?;
            short("metadata", value, TAG_BYTES_MAX)?;
        }
        input::check(&self.inputs, code)?;
        outputs::check(&self.push)?;
        let part = |name: &str, result: Option<Result<(), Fault>>| match result {
            Some(Err(fault)) => Err(fault.within(name)),
            _ => Ok(()),
        };
        part("quota", self.quota.as_ref().map(QuotaSpec::check))?;
        part("transcoder", self.transcoder.as_deref().map(Transcoder::check))?;
        part("dvr", self.dvr.as_deref().map(Dvr::check))?;
        part("watermark", self.watermark.as_deref().map(Watermark::check))?;
        part("thumbnail", self.thumbnail.as_deref().map(Thumbnail::check))
    }

    /// Fields that are set, kept, and without effect yet: `inputs[1]` is the second input.
    #[must_use]
    pub fn without_effect(&self) -> Vec<String> {
        let inputs = self.inputs.iter().enumerate().filter(|(_, input)| !input.is_open());
        let inputs = inputs.map(|(at, _)| format!("inputs[{at}]"));
        let pushes = self.push.iter().enumerate().filter(|(_, push)| push.place().is_err());
        let pushes = pushes.map(|(at, _)| format!("push[{at}]"));
        let protocols = self.protocols.unwrap_or_default();
        let set = [
            ("protocols.dash", protocols.dash),
            ("protocols.rtsp", protocols.rtsp),
            ("transcoder", self.transcoder.is_some()),
            ("dvr", self.dvr.is_some()),
            ("watermark", self.watermark.is_some()),
            ("thumbnail", self.thumbnail.is_some()),
        ];
        let fields = set.into_iter().filter(|&(_, set)| set).map(|(field, _)| field.to_owned());
        inputs.chain(pushes).chain(fields).collect()
    }
}

fn list<T: Clone>(own: Vec<T>, base: &[T]) -> Vec<T> {
    if own.is_empty() { base.to_vec() } else { own }
}

/// True for `[A-Za-z0-9_-]+` of at most 128 bytes.
fn is_code(code: &str) -> bool {
    StreamName::parse(code).is_some() && !code.contains('/')
}

pub(super) type Object = serde_json::Map<String, Value>;

/// The members of a JSON object; one that is `null` says nothing, if there is such a field: it is
/// one of `others`, or `read` knows it.
pub(super) fn object(
    value: Value,
    others: &[&str],
    read: impl Fn(Object) -> Result<(), Fault>,
) -> Result<Object, Fault> {
    let Value::Object(mut object) = value else {
        return Err(Fault::new("invalid_body", "", "expected an object of fields"));
    };
    let nulls = object.iter().filter(|(_, value)| value.is_null()).map(|(name, _)| name);
    for name in nulls.filter(|name| !others.contains(&name.as_str())) {
        // What the field takes besides is of no account.
        match read(Object::from_iter([(name.clone(), Value::Null)])) {
            Err(fault) if fault.code == "unknown_field" => return Err(fault),
            _ => {}
        }
    }
    object.retain(|_, value| !value.is_null());
    Ok(object)
}

/// The code is in the path; a body may repeat it and must not say another one.
pub(super) fn same_code(object: &mut Object, code: &str, wrong: &'static str) -> Result<(), Fault> {
    match object.remove("code") {
        Some(said) if said.as_str().map(str::trim) != Some(code) => {
            Err(Fault::new(wrong, "code", format!("it is {code} here; leave it out")))
        }
        _ => Ok(()),
    }
}

/// Takes one field out of `object`.
fn take<T: serde::de::DeserializeOwned + Default>(
    object: &mut Object,
    field: &str,
) -> Result<T, Fault> {
    match object.remove(field) {
        Some(value) => read(value).map_err(|fault| fault.within(field)),
        None => Ok(T::default()),
    }
}

/// The fields that streams and templates share.
fn traits(object: Object, others: &[&str]) -> Result<Traits, Fault> {
    let names: Vec<_> = object.keys().cloned().collect();
    read(Value::Object(object)).map_err(|fault| {
        // Of a misspelt field of the whole, the nearest may be one that was taken out before.
        let misspelt = fault.code == "unknown_field" && names.contains(&fault.field);
        match crate::config::nearest(&fault.field, others.iter().copied()) {
            Some(near) if misspelt && fault.message.ends_with("remove it") => {
                let message = format!("there is no field {}; the nearest is {near}", fault.field);
                Fault { message, ..fault }
            }
            _ => fault,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn stream(value: Value) -> Result<StreamSpec, Fault> {
        StreamSpec::read(&StreamName::parse("news/one").unwrap(), value)
    }

    #[test]
    fn every_field_is_read_written_and_read_again() {
        let value = json!({
            "code": "news/one", "template": "t", "name": "One", "description": "First",
            "tags": ["a"], "tenant": "acme", "stream_key": "hunter2", "disabled": true,
            "srt_passphrase": {"publish": "correct horse", "play": "battery staple"},
            "quota": {"players_max": 5, "bytes_max": 7, "bytes_period": "day"},
            "mpegts": {"passthrough": false, "null_packets": true},
            "inputs": [{"url": "publish://", "priority": 0, "headers": {"A": "b"},
                "params": {"latency": "120"}, "program": 1, "pids": [256],
                "net": {"timeout_sec": 3, "insecure_tls": true}}],
            "transcoder": {"mode": "multi"}, "protocols": {"hls": true, "srt": true},
            "push": [{"url": "rtmp://h/live/x", "enabled": true, "limit": 3},
                {"url": "srt://h:9000?streamid=publish:x", "enabled": true}],
            "record": "flv",
            "dvr": {"enabled": true}, "watermark": {"type": "text", "text": "x"},
            "thumbnail": {"enabled": true}, "metadata": {"owner": "7"},
        });
        let spec = stream(value).unwrap();
        assert!(spec.traits.stream_key.as_ref().unwrap().matches("hunter2"));
        let effects = ["push[0]", "transcoder", "dvr", "watermark", "thumbnail"];
        assert_eq!(spec.traits.without_effect(), effects);
        let srt = json!({"inputs": [
            {"url": "publish://"}, {"url": "srt://[::]:9000", "priority": 1},
            {"url": "rtmp://0.0.0.0/live", "priority": 2},
        ]});
        assert_eq!(stream(srt).unwrap().traits.without_effect(), [""; 0]);
        let written = serde_json::to_value(&spec).unwrap();
        assert!(!written.to_string().contains("hunter2"), "{written}");
        assert_eq!(stream(written).unwrap(), spec);
        assert_eq!(stream(json!({})).unwrap(), StreamSpec::default());
        let nothing = json!({
            "template": null, "tags": null, "tenant": "", "stream_key": "", "protocols": null,
            "srt_passphrase": "",
        });
        assert_eq!(stream(nothing).unwrap(), StreamSpec::default());
    }

    #[test]
    fn every_wrong_field_is_named() {
        let long = "x".repeat(5_000);
        for (value, code, field) in [
            (json!([]), "invalid_body", ""),
            (json!({"code": "other"}), "invalid_code", "code"),
            (json!({"dvrr": {}}), "unknown_field", "dvrr"),
            (json!({"templat": "x"}), "unknown_field", "templat"),
            (json!({"inputs": [{"uri": "x"}]}), "unknown_field", "inputs[0].uri"),
            (
                json!({"inputs": [{"net": {"timeout": 1}}]}),
                "unknown_field",
                "inputs[0].net.timeout",
            ),
            (json!({"protocols": {"hsl": true}}), "unknown_field", "protocols.hsl"),
            (json!({"disabled": "yes"}), "invalid_value", "disabled"),
            (json!({"srt_passphrase": "short"}), "invalid_value", "srt_passphrase"),
            (json!({"tags": ["a", 1]}), "invalid_value", "tags[1]"),
            (json!({"name": long}), "too_long", "name"),
            (json!({"tenant": "a/b"}), "invalid_value", "tenant"),
            (json!({"quota": {"player_max": 1}}), "unknown_field", "quota.player_max"),
            (json!({"quota": {"egress_bps_max": 0}}), "invalid_quota", "quota.egress_bps_max"),
            (json!({"tags": vec!["x"; 65]}), "too_many", "tags"),
            (json!({"inputs": [{"url": "rtsp://h:1"}]}), "input_not_supported", "inputs[0].url"),
            (json!({"watermark": {"opacity": 2}}), "invalid_watermark", "watermark.opacity"),
            (json!({"push": [{"url": "ftp://h"}]}), "invalid_push_url", "push[0].url"),
        ] {
            let fault = stream(value.clone()).unwrap_err();
            assert_eq!((fault.code, fault.field.as_str()), (code, field), "{value}: {fault}");
        }
        let misspelt = |value| stream(value).unwrap_err().message;
        assert!(misspelt(json!({"templat": "x"})).ends_with("the nearest is template"));
        assert!(misspelt(json!({"stream_kye": "x"})).ends_with("the nearest is stream_key"));
        let template = |code, value| Template::read(code, value).unwrap_err().code;
        assert_eq!(template("a/b", json!({})), "invalid_template_code");
        assert_eq!(template("t", json!({"prefixes": ["/a"]})), "invalid_prefix");
        assert_eq!(template("t", json!({"prefixes": ["a", "a/"]})), "invalid_prefix");
        assert_eq!(template("t", json!({"disabled": true})), "unknown_field");
    }

    #[test]
    fn an_empty_field_takes_the_whole_value_and_a_set_one_replaces_it_whole() {
        let template = json!({
            "name": "T", "tags": ["t"], "tenant": "acme", "stream_key": "k", "metadata": {"a": "b"},
            "inputs": [{"url": "publish://"}], "protocols": {"hls": true, "rtmp": true},
            "dvr": {"enabled": true, "retention_sec": 9},
        });
        let template = Template::read("t", template).unwrap();
        let merged = |value| stream(value).unwrap().merged(&template);
        assert_eq!(merged(json!({})), template.traits);
        let own = merged(json!({
            "name": "Own", "tags": ["own"], "protocols": {}, "dvr": {"enabled": false}
        }));
        assert_eq!(
            (own.name.as_str(), own.tags.as_slice()),
            ("Own", ["own".to_owned()].as_slice())
        );
        assert_eq!(own.protocols, Some(Protocols::default()), "an explicit {{}} turns all off");
        assert_eq!(own.dvr.unwrap().retention_sec, 0, "nothing is mixed within a value");
        assert_eq!(own.inputs, template.traits.inputs);
        assert_eq!(own.stream_key, template.traits.stream_key);
        assert_eq!(own.tenant, template.traits.tenant);
    }
}
