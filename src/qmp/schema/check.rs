//! Arguments held against a type: QEMU's input visitor, with its order and its words.
//!
//! Members are looked at in the order of the type, those of a variant behind the others, and what is left
//! over last: the first mistake is the answer. Where it is inside something, it is named by its path
//! (`actions[0].data.device`), except for a word that is none of an enumeration's.

use serde_json::{Map, Value};

use super::{Object, Type};

/// Whether `members` are an `object`.
///
/// # Errors
/// They are not, and why.
pub fn arguments(object: &'static Object, members: &Map<String, Value>) -> Result<(), String> {
    struct_of(object, members, "")
}

fn struct_of(
    object: &'static Object,
    members: &Map<String, Value>,
    path: &str,
) -> Result<(), String> {
    let variant = members_of(object, members, path)?;
    let known = |name: &str| {
        let all = object
            .members
            .iter()
            .chain(variant.map_or(&[][..], |variant| variant.members));
        all.into_iter().any(|member| member.name == name)
    };
    match members.keys().find(|name| !known(name)) {
        Some(name) => Err(format!("Parameter '{path}{name}' is unexpected")),
        None => Ok(()),
    }
}

/// Looks at the members that the object has; the variant it turns out to be.
fn members_of(
    object: &'static Object,
    members: &Map<String, Value>,
    path: &str,
) -> Result<Option<&'static Object>, String> {
    for member in object.members {
        match members.get(member.name) {
            Some(found) => value(member.kind, found, path, member.name)?,
            None if member.optional => {}
            None => return Err(format!("Parameter '{path}{}' is missing", member.name)),
        }
    }
    let Some(variants) = &object.variants else {
        return Ok(None);
    };
    // It is a member, and an enumeration: it was looked at.
    let tag = members.get(variants.tag).and_then(Value::as_str);
    let case = variants.cases.iter().find(|(case, _)| Some(*case) == tag);
    let Some((_, variant)) = case else {
        return Ok(None);
    };
    members_of(variant, members, path)?;
    Ok(Some(variant))
}

fn value(kind: Type, found: &Value, path: &str, name: &str) -> Result<(), String> {
    let wrong = |expected: &str| {
        Err(format!(
            "Invalid parameter type for '{path}{name}', expected: {expected}"
        ))
    };
    match kind {
        Type::Str if !found.is_string() => wrong("string"),
        Type::Int if !found.is_i64() => wrong("integer"),
        Type::Bool if !found.is_boolean() => wrong("boolean"),
        Type::Str | Type::Int | Type::Bool => Ok(()),
        Type::Enum(words) => match found.as_str() {
            None => wrong("string"),
            Some(word) if words.values.contains(&word) => Ok(()),
            Some(word) => Err(format!("Parameter '{name}' does not accept value '{word}'")),
        },
        Type::Object(object) => match found.as_object() {
            Some(members) => struct_of(object, members, &format!("{path}{name}.")),
            None => wrong("object"),
        },
        Type::Array(element) => {
            let Some(elements) = found.as_array() else {
                return wrong("array");
            };
            for (place, found) in elements.iter().enumerate() {
                if let (Type::Enum(words), Some(word)) = (*element, found.as_str())
                    && !words.values.contains(&word)
                {
                    // An element has no name, and QEMU says so.
                    return Err(format!("Parameter 'null' does not accept value '{word}'"));
                }
                value(*element, found, path, &format!("{name}[{place}]"))?;
            }
            Ok(())
        }
        Type::Alternate(alternate) => match found {
            Value::String(_) => Ok(()),
            Value::Object(members) => {
                struct_of(alternate.object, members, &format!("{path}{name}."))
            }
            _ => wrong(alternate.name),
        },
    }
}
