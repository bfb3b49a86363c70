//! Schema: what the document of the API says of streams, templates, tenants and their patches.
//!
//! The fields tell it themselves where they are declared. What is said here is what their types do
//! not say: which fields stand beside each other, and that one that is `null` says nothing.
//!
//! Spec: JSON Schema 2020-12, as OpenAPI 3.1 takes it; RFC 7396, merge patches.

use std::collections::BTreeMap;

use utoipa::openapi::schema::{
    AdditionalProperties, ArrayBuilder, Object, ObjectBuilder, OneOfBuilder, Schema, SchemaType,
    Type,
};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use super::prefix::PREFIXES_MAX;
use super::quota::QuotaSpec;
use super::spec::{DESCRIPTION_BYTES_MAX, NAME_BYTES_MAX, StreamSpec, Template, Traits};
use super::tenant::Tenant;

/// The schemas that others refer to, by name.
type Named = BTreeMap<String, RefOr<Schema>>;

/// A merge patch of a stream. It exists in the document alone: what is patched is JSON.
#[derive(Debug)]
pub enum StreamPatch {}
/// A merge patch of a template.
#[derive(Debug)]
pub enum TemplatePatch {}
/// A merge patch of a tenant.
#[derive(Debug)]
pub enum TenantPatch {}

impl PartialSchema for StreamSpec {
    fn schema() -> RefOr<Schema> {
        let template = text("The code of the template that empty fields are taken from.");
        let disabled = ObjectBuilder::new().schema_type(Type::Boolean);
        let disabled = disabled.description(Some("Nobody may publish or play it."));
        let own = [("template", template), ("disabled", disabled)];
        let own = own.map(|(name, field)| (name, field.into()));
        described(traits(), "A stream as somebody wants it.", own)
    }
}

impl PartialSchema for Template {
    fn schema() -> RefOr<Schema> {
        let what = "Undeclared streams below these names are streams of this template; `live` is \
                    for every name.";
        let word = ObjectBuilder::new().schema_type(Type::String);
        let prefixes = ArrayBuilder::new().items(word).max_items(Some(PREFIXES_MAX));
        let prefixes = prefixes.description(Some(what));
        described(traits(), "What many streams have in common.", [("prefixes", prefixes.into())])
    }
}

impl PartialSchema for Tenant {
    fn schema() -> RefOr<Schema> {
        let people = |max| text("For people.").max_length(Some(max)).into();
        let quota = Ref::from_schema_name(QuotaSpec::name()).into();
        let own = [
            ("name", people(NAME_BYTES_MAX)),
            ("description", people(DESCRIPTION_BYTES_MAX)),
            ("quota", quota),
        ];
        described(Object::new(), "A tenant as somebody wants it.", own)
    }
}

impl PartialSchema for StreamPatch {
    fn schema() -> RefOr<Schema> {
        patch_of::<StreamSpec>()
    }
}

impl PartialSchema for TemplatePatch {
    fn schema() -> RefOr<Schema> {
        patch_of::<Template>()
    }
}

impl PartialSchema for TenantPatch {
    fn schema() -> RefOr<Schema> {
        patch_of::<Tenant>()
    }
}

/// Says of each type which one's fields it has: what they refer to is part of the document, too.
macro_rules! refer_as {
    ($($described:ty: $fields:ident,)+) => {$(
        impl ToSchema for $described {
            fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
                $fields(schemas);
            }
        }
    )+};
}

refer_as! {
    StreamSpec: parts_of_traits,
    Template: parts_of_traits,
    Tenant: parts_of_tenants,
    StreamPatch: parts_of_traits,
    TemplatePatch: parts_of_traits,
    TenantPatch: parts_of_tenants,
}

fn parts_of_traits(schemas: &mut Vec<(String, RefOr<Schema>)>) {
    Traits::schemas(schemas);
}

fn parts_of_tenants(schemas: &mut Vec<(String, RefOr<Schema>)>) {
    schemas.push((QuotaSpec::name().into(), QuotaSpec::schema()));
    QuotaSpec::schemas(schemas);
}

fn text(what: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String).description(Some(what))
}

/// What streams and templates say alike.
fn traits() -> Object {
    match Traits::schema() {
        RefOr::T(Schema::Object(object)) => object,
        _ => Object::new(),
    }
}

/// The fields of `object` beside `own` ones: one that is `null` says nothing, and `code` repeats
/// the address.
fn described(
    mut object: Object,
    what: &str,
    own: impl IntoIterator<Item = (&'static str, RefOr<Schema>)>,
) -> RefOr<Schema> {
    let code = text("The same as in the address, or left out; never shown.").into();
    let own = own.into_iter().chain([("code", code)]);
    object.properties.extend(own.map(|(name, field)| (name.to_owned(), field)));
    object.properties.values_mut().for_each(allow_null);
    object.description = Some(what.to_owned());
    object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
    object.into()
}

/// What a merge patch of a `T` looks like.
fn patch_of<T: ToSchema>() -> RefOr<Schema> {
    let mut named = Vec::new();
    T::schemas(&mut named);
    let mut schema = T::schema();
    loosen(&mut schema, &named.into_iter().collect());
    if let RefOr::T(Schema::Object(object)) = &mut schema {
        let what = "A merge patch (RFC 7396): what it names is changed, what is `null` removed.";
        object.description = Some(what.to_owned());
        // Of the whole a name is checked that is removed; below it a patch may remove anything.
        object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
    }
    schema
}

/// Makes of an object its patch: each member may be there, or be removed. Lists are replaced
/// whole, as everything that is no object.
fn loosen(schema: &mut RefOr<Schema>, named: &Named) {
    if let RefOr::Ref(reference) = schema {
        match name_of(reference).and_then(|name| named.get(name)) {
            Some(meant) if has_members(meant) => *schema = meant.clone(),
            _ => return,
        }
    }
    let RefOr::T(schema) = schema else { return };
    match schema {
        Schema::Object(object) => loosen_members(object, named),
        Schema::OneOf(one) => one.items.iter_mut().for_each(|item| loosen(item, named)),
        Schema::AnyOf(any) => any.items.iter_mut().for_each(|item| loosen(item, named)),
        Schema::AllOf(all) => all.items.iter_mut().for_each(|item| loosen(item, named)),
        _ => {}
    }
}

fn loosen_members(object: &mut Object, named: &Named) {
    object.required.clear();
    for member in object.properties.values_mut() {
        loosen(member, named);
        allow_null(member);
    }
    object.additional_properties = match object.additional_properties.take().map(|kind| *kind) {
        Some(AdditionalProperties::RefOr(mut value)) => {
            allow_null(&mut value);
            Some(Box::new(AdditionalProperties::RefOr(value)))
        }
        _ => None,
    };
}

/// True of an object, and of what may be one.
fn has_members(schema: &RefOr<Schema>) -> bool {
    match schema {
        RefOr::T(Schema::Object(object)) => !object.properties.is_empty(),
        RefOr::T(Schema::OneOf(one)) => one.items.iter().any(has_members),
        _ => false,
    }
}

/// The name of what is referred to.
fn name_of(reference: &Ref) -> Option<&str> {
    reference.ref_location.strip_prefix("#/components/schemas/")
}

fn allow_null(schema: &mut RefOr<Schema>) {
    match schema {
        RefOr::T(Schema::Object(object)) => {
            allow_null_type(&mut object.schema_type);
            if let Some(words) = &mut object.enum_values {
                words.push(serde_json::Value::Null);
            }
        }
        RefOr::T(Schema::Array(array)) => allow_null_type(&mut array.schema_type),
        RefOr::T(Schema::OneOf(one)) => {
            if !one.items.iter().any(is_null) {
                one.items.push(ObjectBuilder::new().schema_type(Type::Null).into());
            }
        }
        other => {
            let null = ObjectBuilder::new().schema_type(Type::Null);
            *other = OneOfBuilder::new().item(null).item(other.clone()).into();
        }
    }
}

fn allow_null_type(kind: &mut SchemaType) {
    match kind {
        SchemaType::Type(only) => *kind = SchemaType::Array(vec![only.clone(), Type::Null]),
        SchemaType::Array(kinds) if !kinds.contains(&Type::Null) => kinds.push(Type::Null),
        SchemaType::Array(_) | SchemaType::AnyValue => {}
    }
}

fn is_null(schema: &RefOr<Schema>) -> bool {
    let RefOr::T(Schema::Object(object)) = schema else { return false };
    object.schema_type == SchemaType::Type(Type::Null)
}

#[cfg(test)]
mod tests {
    use super::super::{input, outputs, processing, spec};
    use super::*;
    use serde_json::{Value, json};

    fn shown<T: ToSchema>() -> Value {
        serde_json::to_value(T::schema()).unwrap()
    }

    /// The schemas that a stream refers to.
    fn parts() -> Value {
        let mut named = Vec::new();
        StreamSpec::schemas(&mut named);
        serde_json::to_value(named.into_iter().collect::<Named>()).unwrap()
    }

    /// What `schema` is one of, or it itself.
    fn kinds_of(schema: &Value) -> Vec<Value> {
        match schema["oneOf"].as_array() {
            Some(kinds) => kinds.iter().flat_map(kinds_of).collect(),
            None => vec![schema.clone()],
        }
    }

    #[test]
    fn limits_are_those_that_are_checked() {
        let (stream, template, parts) = (shown::<StreamSpec>(), shown::<Template>(), parts());
        let fields = &stream["properties"];
        for (field, limit, expected) in [
            (&fields["name"], "maxLength", spec::NAME_BYTES_MAX),
            (&fields["description"], "maxLength", spec::DESCRIPTION_BYTES_MAX),
            (&fields["tags"], "maxItems", spec::TAGS_MAX),
            (&fields["inputs"], "maxItems", input::INPUTS_MAX),
            (&fields["push"], "maxItems", outputs::PUSHES_MAX),
            (&template["properties"]["prefixes"], "maxItems", PREFIXES_MAX),
            (&parts["Input"]["properties"]["url"], "maxLength", input::URL_BYTES_MAX),
            (&parts["Input"]["properties"]["pids"], "maxItems", input::PIDS_MAX),
            (
                &parts["Transcoder"]["properties"]["extra_args"],
                "maxItems",
                processing::EXTRA_ARGS_MAX,
            ),
            (
                &parts["VideoTranscoding"]["properties"]["profiles"],
                "maxItems",
                processing::PROFILES_MAX,
            ),
        ] {
            assert_eq!(field[limit], expected, "{field}");
        }
    }

    #[test]
    fn a_description_has_the_fields_of_its_kind_and_no_others() {
        let (stream, template, tenant) =
            (shown::<StreamSpec>(), shown::<Template>(), shown::<Tenant>());
        let fields = |schema: &Value, names: [&str; 4]| {
            names.map(|name| !schema["properties"][name].is_null())
        };
        let names = ["template", "prefixes", "quota", "stream_key"];
        assert_eq!(fields(&stream, names), [true, false, true, true]);
        assert_eq!(fields(&template, names), [false, true, true, true]);
        assert_eq!(fields(&tenant, names), [false, false, true, false]);
        for schema in [&stream, &template, &tenant] {
            assert_eq!(schema["additionalProperties"], false);
            assert_eq!(schema["properties"]["name"]["type"], json!(["string", "null"]));
        }
        let key = stream["properties"]["stream_key"]["description"].as_str().unwrap();
        assert!(key.contains("in plain") && key.contains("hash"), "{key}");
    }

    #[test]
    fn a_patch_may_remove_every_member_of_every_object() {
        let patch = shown::<StreamPatch>();
        assert_eq!(patch["additionalProperties"], false);
        let member = |path: &[&str]| {
            path.iter().fold(patch.clone(), |object, name| {
                let kinds = kinds_of(&object);
                let mut found = kinds.iter().map(|kind| &kind["properties"][name]);
                let found = found.find(|member| !member.is_null());
                found.unwrap_or_else(|| panic!("{path:?}: {object}")).clone()
            })
        };
        for path in [
            &["tags"][..],
            &["disabled"],
            &["quota"],
            &["quota", "players_max"],
            &["quota", "publish_over"],
            &["auth", "play"],
            &["transcoder", "video", "copy"],
            &["dvr", "enabled"],
        ] {
            let member = member(path);
            let kinds = kinds_of(&member);
            let mut kinds = kinds.iter().map(|kind| &kind["type"]);
            let null = |kind: &Value| {
                *kind == "null"
                    || kind.as_array().is_some_and(|kinds| kinds.contains(&json!("null")))
            };
            assert!(kinds.any(null), "{path:?}: {member}");
        }
        let metadata = &member(&["metadata"])["additionalProperties"]["type"];
        assert_eq!(*metadata, json!(["string", "null"]));
        // A list is replaced whole: its items are as they are elsewhere.
        assert_eq!(member(&["inputs"])["items"]["$ref"], "#/components/schemas/Input");
    }
}
