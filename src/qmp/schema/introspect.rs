//! `query-qmp-schema` and `query-commands`: the table for clients.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::table::{COMMANDS, EVENTS};
use super::{Command, Object, Type};

/// What `query-commands` returns, where the commands are those that are `offered`.
pub fn commands(offered: impl Fn(&Command) -> bool) -> Value {
    let commands = COMMANDS.iter().filter(|command| offered(command));
    commands
        .map(|command| json!({"name": command.name}))
        .collect()
}

/// What `query-qmp-schema` returns: the commands that are `offered`, the events, then every type they need, by name.
pub fn schema(offered: impl Fn(&Command) -> bool) -> Value {
    let mut types = Types::default();
    let mut entries = Vec::new();
    for command in COMMANDS.iter().filter(|command| offered(command)) {
        types.object(command.arguments);
        let returns = types.name(command.returns);
        entries.push(json!({
            "name": command.name, "meta-type": "command",
            "arg-type": command.arguments.name, "ret-type": returns,
        }));
    }
    for event in EVENTS {
        types.object(event.data);
        entries
            .push(json!({"name": event.name, "meta-type": "event", "arg-type": event.data.name}));
    }
    entries.extend(types.0.into_values());
    Value::Array(entries)
}

/// The types met so far.
#[derive(Default)]
struct Types(BTreeMap<String, Value>);

impl Types {
    /// Takes a type in; its name.
    fn name(&mut self, kind: Type) -> String {
        let (name, entry) = match kind {
            Type::Str => ("str", Some(builtin("str", "string"))),
            Type::Int => ("int", Some(builtin("int", "int"))),
            Type::Bool => ("bool", Some(builtin("bool", "boolean"))),
            Type::Enum(words) => {
                let members: Vec<_> = words
                    .values
                    .iter()
                    .map(|word| json!({"name": word}))
                    .collect();
                let entry = json!({
                    "name": words.name, "meta-type": "enum", "members": members, "values": words.values,
                });
                (words.name, Some(entry))
            }
            Type::Object(object) => {
                self.object(object);
                (object.name, None)
            }
            Type::Array(element) => {
                let element = self.name(*element);
                let name = format!("[{element}]");
                let entry = json!({"name": name, "meta-type": "array", "element-type": element});
                self.0.insert(name.clone(), entry);
                return name;
            }
            Type::Alternate(alternate) => {
                self.object(alternate.object);
                self.name(Type::Str);
                let members = [
                    json!({"type": alternate.object.name}),
                    json!({"type": "str"}),
                ];
                let entry =
                    json!({"name": alternate.name, "meta-type": "alternate", "members": members});
                (alternate.name, Some(entry))
            }
        };
        if let Some(entry) = entry {
            self.0.insert(name.to_owned(), entry);
        }
        name.to_owned()
    }

    fn object(&mut self, object: &'static Object) {
        // Types may lead back to themselves: a place is taken before they are looked at.
        if self.0.contains_key(object.name) {
            return;
        }
        self.0.insert(object.name.to_owned(), Value::Null);
        let mut members = Vec::new();
        for member in object.members {
            let mut entry = json!({"name": member.name, "type": self.name(member.kind)});
            if member.optional {
                entry["default"] = Value::Null;
            }
            members.push(entry);
        }
        let mut entry = json!({"name": object.name, "meta-type": "object", "members": members});
        if let Some(variants) = &object.variants {
            let mut cases = Vec::new();
            for (case, variant) in variants.cases {
                self.object(variant);
                cases.push(json!({"case": case, "type": variant.name}));
            }
            entry["tag"] = variants.tag.into();
            entry["variants"] = cases.into();
        }
        self.0.insert(object.name.to_owned(), entry);
    }
}

fn builtin(name: &str, json_type: &str) -> Value {
    json!({"name": name, "meta-type": "builtin", "json-type": json_type})
}
