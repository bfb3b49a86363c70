//! The house rules that a machine can check: sizes, names, arrows, words, copies and licences.
//!
//! Each test lists every breach as `file:line: what`, so that one run is enough to mend them all.

mod rules;

use rules::Checkout;

fn assert_none(rule: &str, breaches: &[String]) {
    assert!(breaches.is_empty(), "{rule}:\n  {}", breaches.join("\n  "));
}

#[test]
fn files_are_short_and_narrow() {
    assert_none("sizes", &rules::sizes::breaches(&Checkout::read()));
}

#[test]
fn files_are_named_by_nouns_of_the_field() {
    assert_none("file names", &rules::names::breaches(&Checkout::read()));
}

#[test]
fn the_top_level_holds_only_its_fixed_names() {
    assert_none("top level", &rules::names::top_level(&Checkout::read()));
}

#[test]
fn folders_are_indexes() {
    assert_none("mod.rs", &rules::indexes::breaches(&Checkout::read()));
}

#[test]
fn crates_import_in_one_direction() {
    assert_none("crate arrows", &rules::arrows::between_crates(&Checkout::read()));
}

#[test]
fn modules_of_the_data_plane_import_in_one_direction() {
    assert_none("module arrows", &rules::arrows::inside_dataplane(&Checkout::read()));
}

#[test]
fn unsafe_code_stays_where_it_is_argued() {
    assert_none("unsafe", &rules::arrows::unsafe_code(&Checkout::read()));
}

#[test]
fn texts_speak_of_the_product_alone() {
    assert_none("words", &rules::words::breaches(&Checkout::read()));
}

#[test]
fn every_copy_of_payload_is_listed_with_its_reason() {
    assert_none("copies", &rules::copies::breaches(&Checkout::read()));
}

#[test]
fn every_kind_of_event_is_sent_tested_and_explained() {
    assert_none("events", &rules::events::breaches(&Checkout::read()));
}

#[test]
fn licences_and_sources_are_allowed() {
    assert_none("licences", &rules::licences::breaches(&Checkout::read()));
}
