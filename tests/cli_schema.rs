//! Goal: `blockjob schema` prints schemas that are JSON, refer to nothing that is missing, and tell
//! right from wrong.
//! Method: run it, and hold written examples against what it printed.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod cli_support;

use cli_support::{assert_valid, run, schema, validate};
use serde_json::{Value, json};

#[test]
fn without_an_argument_every_schema_stands_on_a_line_of_its_own() {
    let ran = run(["schema"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    let ids: Vec<Value> = ran
        .json()
        .iter()
        .map(|schema| schema["$id"].clone())
        .collect();
    assert!(ids.contains(&json!("blockjob:native")));
    for id in ids {
        let name = id.as_str().unwrap().strip_prefix("blockjob:").unwrap();
        assert_eq!(schema(name)["$id"], id);
    }
}

#[test]
fn the_schema_of_a_trace_knows_a_record_from_a_mistake() {
    let native = schema("native");
    let status = json!({"seq": 1, "t_ns": 0, "thread": "main", "kind": "status", "job": "j", "group": null, "status": "running"});
    assert_valid(
        &native,
        &json!({"blockjob_trace": 1, "profile": "reference"}),
    );
    assert_valid(&native, &status);
    for (key, wrong) in [
        ("status", json!("finished")),
        ("kind", json!("call")),
        ("seq", json!(-1)),
        ("job", json!(7)),
    ] {
        let mut broken = status.clone();
        broken[key] = wrong;
        assert!(validate(&native, &native, &broken).is_err(), "{broken}");
    }
    let mut short = status;
    short.as_object_mut().unwrap().remove("thread");
    assert!(validate(&native, &native, &short).is_err());
}

#[test]
fn an_unknown_document_is_a_usage_error_that_names_the_known_ones() {
    run(["schema", "weather"]).refused(&["weather", "native"]);
}
