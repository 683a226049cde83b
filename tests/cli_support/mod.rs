//! What the tests of the command share: the command itself, and a check of its machine output
//! against the schemas it prints.
#![allow(dead_code)] // Each test file uses its part.

pub mod copying;

use std::process::Output;

use serde_json::Value;
use snapbox::cmd::Command;

/// The command as built for this test run, with no colours asked for or against.
pub fn blockjob() -> Command {
    Command::new(snapbox::cmd::cargo_bin!("blockjob"))
        .env_remove("NO_COLOR")
        .env_remove("CLICOLOR_FORCE")
        .env("COLUMNS", "100")
}

/// Runs it with `arguments`; the exit code, standard output, standard error.
pub fn run<S: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = S>) -> Ran {
    Ran::from(
        blockjob()
            .args(arguments)
            .output()
            .expect("the command starts"),
    )
}

/// What a run left behind.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Ran {
        Ran {
            code: output
                .status
                .code()
                .expect("it ended by itself, not by a signal"),
            stdout: String::from_utf8(output.stdout).expect("output is UTF-8"),
            stderr: String::from_utf8(output.stderr).expect("messages are UTF-8"),
        }
    }
}

impl Ran {
    /// It could not be done: exit 2, nothing on standard output, and each of `words` in the reason.
    #[track_caller]
    pub fn refused(&self, words: &[&str]) {
        assert_eq!(self.code, 2, "{self:?}");
        assert_eq!(self.stdout, "", "{self:?}");
        self.says(words);
    }

    /// Each of `words` is on standard error, and no panic is.
    #[track_caller]
    pub fn says(&self, words: &[&str]) {
        for word in words {
            assert!(self.stderr.contains(word), "no {word:?} in {self:?}");
        }
        assert!(!self.stderr.contains("panicked"), "{self:?}");
    }

    /// Standard output as JSON, an object a line.
    #[track_caller]
    pub fn json(&self) -> Vec<Value> {
        self.stdout
            .lines()
            .map(|line| serde_json::from_str(line).expect("each line is JSON"))
            .collect()
    }
}

/// The schema of `document`, as the command prints it.
pub fn schema(document: &str) -> Value {
    let ran = run(["schema", document]);
    assert_eq!(ran.code, 0, "{ran:?}");
    serde_json::from_str(&ran.stdout).expect("a schema is JSON")
}

/// Asserts that `value` is what `schema` describes.
#[track_caller]
pub fn assert_valid(schema: &Value, value: &Value) {
    if let Err(reason) = validate(schema, schema, value) {
        panic!("{reason}\nin {value:#}");
    }
}

/// The part of JSON Schema that our schemas use. A keyword it does not know is a failure, so that
/// no schema is checked by halves.
pub fn validate(root: &Value, schema: &Value, value: &Value) -> Result<(), String> {
    for (keyword, rule) in schema.as_object().ok_or("a schema is an object")? {
        let fits = match keyword.as_str() {
            "$schema" | "$id" | "$defs" | "title" | "description" => true,
            "$ref" => {
                let path = rule.as_str().and_then(|path| path.strip_prefix('#'));
                let target = path.and_then(|path| root.pointer(path));
                validate(root, target.ok_or("a reference leads nowhere")?, value)?;
                true
            }
            "type" => match rule {
                Value::Array(types) => types.iter().any(|name| has_type(value, name)),
                name => has_type(value, name),
            },
            "const" => value == rule,
            "enum" => list(rule).contains(value),
            "minimum" => value
                .as_f64()
                .is_none_or(|number| Some(number) >= rule.as_f64()),
            "required" => list(rule)
                .iter()
                .filter_map(Value::as_str)
                .all(|key| value.get(key).is_some()),
            "properties" => {
                for (key, schema) in rule.as_object().ok_or("properties is an object")? {
                    if let Some(value) = value.get(key) {
                        validate(root, schema, value)
                            .map_err(|reason| format!("{key}: {reason}"))?;
                    }
                }
                true
            }
            "additionalProperties" => {
                assert_eq!(rule, &Value::Bool(false), "only `false` is known here");
                let known = schema.get("properties").and_then(Value::as_object);
                value.as_object().is_none_or(|object| {
                    object
                        .keys()
                        .all(|key| known.is_some_and(|known| known.contains_key(key)))
                })
            }
            "items" => {
                for item in value.as_array().into_iter().flatten() {
                    validate(root, rule, item)?;
                }
                true
            }
            "allOf" => {
                for schema in list(rule) {
                    validate(root, schema, value)?;
                }
                true
            }
            "oneOf" => {
                let fitting = list(rule)
                    .iter()
                    .filter(|schema| validate(root, schema, value).is_ok());
                fitting.count() == 1
            }
            other => {
                return Err(format!(
                    "the schema uses {other}, which this check does not know"
                ));
            }
        };
        if !fits {
            return Err(format!("{keyword} {rule} does not fit {value}"));
        }
    }
    Ok(())
}

fn list(rule: &Value) -> &[Value] {
    rule.as_array().map_or(&[], Vec::as_slice)
}

fn has_type(value: &Value, name: &Value) -> bool {
    match name.as_str() {
        Some("null") => value.is_null(),
        Some("boolean") => value.is_boolean(),
        Some("integer") => value.is_u64() || value.is_i64(),
        Some("number") => value.is_number(),
        Some("string") => value.is_string(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        _ => false,
    }
}
