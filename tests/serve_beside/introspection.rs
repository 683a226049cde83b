//! What both say of themselves.

use std::collections::BTreeMap;

use blockjob::qmp::schema::introspect;
use serde_json::{Value, json};

use crate::serve_support::Peer;

/// What we say of ourselves is what QEMU says of itself, as far as it goes.
#[test]
fn commands_arguments_and_events_are_qemu_s() {
    let Some((mut theirs, mut client)) = Peer::qemu() else {
        return;
    };
    let whole = client.ask("query-qmp-schema", json!({}))["return"].take();
    client.done("quit", json!({}));
    assert!(theirs.wait().0.success());
    let by_name = |entries: &Value| -> BTreeMap<String, Value> {
        let entries = entries.as_array().unwrap();
        entries
            .iter()
            .map(|entry| (entry["name"].as_str().unwrap().to_owned(), entry.clone()))
            .collect()
    };
    let (theirs, ours) = (by_name(&whole), by_name(&introspect::schema(|_| true)));
    let mut compared = 0;
    for (name, entry) in &ours {
        if entry["meta-type"] == "command" || entry["meta-type"] == "event" {
            let their_entry = theirs
                .get(name)
                .unwrap_or_else(|| panic!("QEMU has no {name}"));
            assert_eq!(their_entry["meta-type"], entry["meta-type"], "{name}");
            part_of(
                &ours,
                &entry["arg-type"],
                &theirs,
                &their_entry["arg-type"],
                name,
            );
            compared += 1;
        }
    }
    assert_eq!(compared, 32);
}

/// Each member of our type is one of theirs, with the same type as far as it goes, and where theirs must be there so must
/// ours; and what must be there in theirs is in ours.
fn part_of(
    ours: &BTreeMap<String, Value>,
    our_type: &Value,
    theirs: &BTreeMap<String, Value>,
    their_type: &Value,
    path: &str,
) {
    let (Some(our_type), Some(their_type)) = (our_type.as_str(), their_type.as_str()) else {
        panic!("{path}: {our_type} {their_type}");
    };
    let (our_entry, their_entry) = (&ours[our_type], &theirs[their_type]);
    assert_eq!(our_entry["meta-type"], their_entry["meta-type"], "{path}");
    match our_entry["meta-type"].as_str().unwrap() {
        "builtin" => assert_eq!(our_entry["json-type"], their_entry["json-type"], "{path}"),
        "enum" => {
            for value in our_entry["values"].as_array().unwrap() {
                assert!(
                    their_entry["values"].as_array().unwrap().contains(value),
                    "{path}: {value}"
                );
            }
        }
        "array" => {
            let inner = |entry: &Value| entry["element-type"].clone();
            part_of(ours, &inner(our_entry), theirs, &inner(their_entry), path);
        }
        // A reference to a node: compared where the node is.
        "alternate" => {}
        "object" => {
            let members = |entry: &Value| entry["members"].as_array().unwrap().clone();
            let their_members = members(their_entry);
            for member in members(our_entry) {
                let path = format!("{path}.{}", member["name"]);
                let of_theirs = their_members
                    .iter()
                    .find(|their| their["name"] == member["name"]);
                let of_theirs = of_theirs.unwrap_or_else(|| panic!("QEMU has no {path}"));
                let optional = |member: &Value| member.get("default").is_some();
                assert_eq!(optional(&member), optional(of_theirs), "{path}");
                part_of(ours, &member["type"], theirs, &of_theirs["type"], &path);
            }
            for member in &their_members {
                let needed = member.get("default").is_none();
                let found = members(our_entry)
                    .iter()
                    .any(|our| our["name"] == member["name"]);
                assert!(!needed || found, "{path}: QEMU needs {member}");
            }
            for variant in our_entry["variants"].as_array().into_iter().flatten() {
                let their_variants = their_entry["variants"].as_array().unwrap();
                let of_theirs = their_variants
                    .iter()
                    .find(|their| their["case"] == variant["case"]);
                let path = format!("{path}.{}", variant["case"]);
                part_of(
                    ours,
                    &variant["type"],
                    theirs,
                    &of_theirs.unwrap()["type"],
                    &path,
                );
            }
        }
        other => panic!("{path}: {other}"),
    }
}
