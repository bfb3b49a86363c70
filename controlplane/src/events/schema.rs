//! Schema: what the document of the API says of events, one schema for each type.
//!
//! The data of a type is described where it is declared ([`Kind`]), so that no type is without. A
//! type `stream.started` is the schema `StreamStartedEvent`; `Event` is one of all of them.

use utoipa::openapi::schema::{
    Discriminator, KnownFormat, ObjectBuilder, OneOfBuilder, Schema, SchemaFormat, SchemaType, Type,
};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use super::event::Event;
use super::kind::Kind;

impl PartialSchema for Event {
    fn schema() -> RefOr<Schema> {
        let refer = |name| Ref::from_schema_name(schema_name(name));
        let place = |name| (name, refer(name).ref_location);
        let all = OneOfBuilder::new()
            .description(Some(
                "What happened: `/api/v1/events` tells it in each `data:`, hooks bring it alone or \
                 in lists.",
            ))
            .discriminator(Some(Discriminator::with_mapping(
                "type",
                Kind::NAMES.into_iter().map(place),
            )));
        Kind::NAMES.into_iter().fold(all, |all, name| all.item(refer(name))).into()
    }
}

impl ToSchema for Event {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        Kind::schemas(schemas);
        // Its variants are declared together with their names, in one order.
        let RefOr::T(Schema::OneOf(kinds)) = Kind::schema() else { return };
        for (name, data) in Kind::NAMES.into_iter().zip(kinds.items) {
            schemas.push((schema_name(name), event(name, data)));
        }
    }
}

/// `StreamStartedEvent` for `stream.started`.
fn schema_name(name: &str) -> String {
    let words = name.split(['.', '_']).map(|word| {
        let (first, rest) = word.split_at(1);
        first.to_ascii_uppercase() + rest
    });
    words.chain(["Event".to_owned()]).collect()
}

/// An event of the type `name`.
fn event(name: &'static str, mut data: RefOr<Schema>) -> RefOr<Schema> {
    let what = match &mut data {
        RefOr::T(Schema::Object(data)) => data.description.take(),
        _ => None,
    };
    let text = || ObjectBuilder::new().schema_type(Type::String);
    let nullable = || {
        let kinds = SchemaType::from_iter([Type::String, Type::Null]);
        ObjectBuilder::new().schema_type(kinds)
    };
    let time = text().format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
    let fields = [
        ("id", text().description(Some("Names it for ever, and sorts by time.")).into()),
        ("type", text().enum_values(Some([name])).into()),
        ("time", time.into()),
        ("node", text().description(Some("Where it happened.")).into()),
        ("stream", nullable().description(Some("Which stream it concerns, if one.")).into()),
        ("stream_id", nullable().description(Some("Which publication, if that is known.")).into()),
        ("data", data),
    ];
    let event = ObjectBuilder::new().schema_type(Type::Object).description(what);
    fields
        .into_iter()
        .fold(event, |event, (name, field): (_, RefOr<Schema>)| {
            event.property(name, field).required(name)
        })
        .into()
}

#[cfg(test)]
mod tests {
    use super::super::kind::{Asked, Party};
    use super::super::{Bus, RingLimits};
    use super::*;
    use dataplane::control::Protocol;
    use dataplane::ids::SessionId;
    use serde_json::Value;
    use std::collections::{BTreeMap, BTreeSet};

    /// Every schema that belongs to events, by name.
    fn schemas() -> BTreeMap<String, Value> {
        let mut schemas = Vec::new();
        Event::schemas(&mut schemas);
        let shown = |schema: RefOr<Schema>| serde_json::to_value(schema).unwrap();
        schemas.into_iter().map(|(name, schema)| (name, shown(schema))).collect()
    }

    /// The members that `schema` tells of, and those that are always there.
    fn members(
        schemas: &BTreeMap<String, Value>,
        schema: &Value,
    ) -> (BTreeSet<String>, BTreeSet<String>) {
        if let Some(to) = schema["$ref"].as_str() {
            return members(schemas, &schemas[to.rsplit_once('/').unwrap().1]);
        }
        let mut own = (BTreeSet::new(), BTreeSet::new());
        own.0.extend(schema["properties"].as_object().into_iter().flatten().map(|it| it.0.clone()));
        let required = schema["required"].as_array().into_iter().flatten();
        own.1.extend(required.map(|name| name.as_str().unwrap().to_owned()));
        for part in schema["allOf"].as_array().into_iter().flatten() {
            let part = members(schemas, part);
            own.0.extend(part.0);
            own.1.extend(part.1);
        }
        own
    }

    #[test]
    fn every_type_has_a_schema_that_the_event_refers_to() {
        let (schemas, event) = (schemas(), serde_json::to_value(Event::schema()).unwrap());
        assert_eq!(event["oneOf"].as_array().unwrap().len(), Kind::NAMES.len());
        let mapping = event["discriminator"]["mapping"].as_object().unwrap();
        assert_eq!(mapping.len(), Kind::NAMES.len());
        for name in Kind::NAMES {
            let to = mapping[name].as_str().unwrap().rsplit_once('/').unwrap().1;
            let schema = &schemas[to];
            assert_eq!(schema["properties"]["type"]["enum"], serde_json::json!([name]));
            assert!(schema["description"].as_str().is_some_and(|text| text.len() > 8), "{name}");
            let fields = schema["properties"]["data"]["properties"].as_object();
            for (field, told) in fields.into_iter().flatten() {
                let says = told.get("type").is_some() || told.get("$ref").is_some();
                assert!(says || told.get("oneOf").is_some(), "{name}: {field}: {told}");
            }
        }
        assert_eq!(schema_name("stream.started"), "StreamStartedEvent");
    }

    #[test]
    fn an_event_has_the_members_that_its_schema_tells() {
        let party = Party {
            session: SessionId(7),
            protocol: Protocol::Rtmp,
            peer: "192.0.2.1:5".parse().unwrap(),
            agent: "OBS".into(),
            claim: None,
        };
        let asked = Asked { party: party.clone(), intent: "play", named: "one".into() };
        let bus = Bus::new("edge-1".into(), RingLimits::default());
        let schemas = schemas();
        let (bytes_in, bytes_out, duration_ms, reason) = (1, 2, 3, "kicked");
        for kind in [
            Kind::StreamCreated { origin: "api" },
            Kind::StreamStarted { shard: 0, protocol: Protocol::Rtmp, party: Some(party.clone()) },
            Kind::StreamLost {},
            Kind::StreamReturned { session: None },
            Kind::PublishStarted { party: party.clone(), tls: false },
            Kind::SessionClosed { party: party.clone(), bytes_in, bytes_out, duration_ms, reason },
            Kind::SessionUnopened { party: party.clone() },
            Kind::AuthorisationDenied { asked, reason, cached: true },
            Kind::SegmentReady { width: 1, height: 1, fps_milli: 1, target_ms: 1 },
            Kind::SegmentFinished { number: 1, duration_ms, publisher: Some(party) },
            Kind::RecordingFailed { reason: "disk_full", message: "full".into() },
            Kind::ConfigChanged { source: "api", applied: Vec::new(), restart: Vec::new() },
            Kind::HookTest { hook: "a".into() },
        ] {
            let name = kind.name();
            let event = bus.unpublished(None, kind);
            let event: Value = serde_json::from_str(event.json()).unwrap();
            let mut pairs = vec![(schemas[&schema_name(name)].clone(), event)];
            while let Some((schema, value)) = pairs.pop() {
                let (known, required) = members(&schemas, &schema);
                let Some(object) = value.as_object() else { continue };
                let there: BTreeSet<_> = object.keys().cloned().collect();
                assert_eq!(there, known, "{name}: {schema}");
                assert!(required.is_subset(&there), "{name}: {required:?}");
                for (field, value) in object {
                    let told = &schema["properties"][field];
                    let told = told["oneOf"].get(1).unwrap_or(told);
                    pairs.extend((!told.is_null()).then(|| (told.clone(), value.clone())));
                }
            }
        }
    }
}
