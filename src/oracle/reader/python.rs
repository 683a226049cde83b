//! What test logs print in place of JSON: dictionaries as Python writes them, and words that stand for
//! what was filtered out.

/// An object as JSON, and whether something in it was filtered out.
pub struct Unfiltered {
    /// It.
    pub json: String,
    /// A value was replaced by a word (`TIMESTAMP`, `LEN`) before it was printed.
    pub filtered: bool,
}

/// A dictionary as Python prints it, as JSON: quotation marks, escapes, and three words. A word in
/// capitals where a value belongs, or one in parentheses, stands for one that was filtered out, and becomes `null`.
///
/// JSON stays as it is.
pub fn to_json(python: &str) -> Unfiltered {
    let mut json = String::with_capacity(python.len() + 8);
    let mut filtered = false;
    let mut rest = python.char_indices().peekable();
    while let Some((at, char)) = rest.next() {
        match char {
            '"' | '\'' => {
                json.push('"');
                while let Some((_, inside)) = rest.next() {
                    match inside {
                        _ if inside == char => break,
                        '"' => json.push_str("\\\""),
                        '\\' => match rest.next() {
                            Some((_, '\'')) => json.push('\''),
                            // Two hexadecimal digits there, four here.
                            Some((_, 'x')) => json.push_str("\\u00"),
                            Some((_, other)) => {
                                json.push('\\');
                                json.push(other);
                            }
                            None => {}
                        },
                        _ => json.push(inside),
                    }
                }
                json.push('"');
            }
            // A number may have an E in it.
            '0'..='9' | '-' => {
                json.push(char);
                while let Some((_, next)) = rest.next_if(|(_, next)| in_word(*next)) {
                    json.push(next);
                }
            }
            // `(filtered)`, and the like.
            '(' => {
                let word = python[at + 1..].split(')').next().unwrap_or_default();
                let stands =
                    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphabetic());
                if stands && at + 1 + word.len() < python.len() {
                    filtered = true;
                    json.push_str("null");
                    while rest.next().is_some_and(|(_, inside)| inside != ')') {}
                } else {
                    json.push('(');
                }
            }
            'A'..='Z' => {
                let mut end = at + 1;
                while let Some((next, _)) = rest.next_if(|(_, next)| in_word(*next)) {
                    end = next + 1;
                }
                match &python[at..end] {
                    "True" => json.push_str("true"),
                    "False" => json.push_str("false"),
                    "None" => json.push_str("null"),
                    word if stands_for_something(word) => {
                        filtered = true;
                        // In place of members, and not of a value: QEMU's tests do so with the greeting.
                        json.push_str(match (json.trim_end().ends_with('{'), word) {
                            (true, "QMP_VERSION") => "\"QMP\": {}",
                            (true, _) => "\"\": null",
                            (false, _) => "null",
                        });
                    }
                    word => json.push_str(word),
                }
            }
            _ => json.push(char),
        }
    }
    Unfiltered { json, filtered }
}

const fn in_word(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '_' | '.' | '+' | '-')
}

/// A word in capitals, such as tests write for what differs from run to run.
pub fn stands_for_something(word: &str) -> bool {
    word.len() > 1
        && word
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn python_is_read_as_json() {
        for (python, json) in [
            (
                "{'a': True, 'b': None, 'c': False}",
                r#"{"a": true, "b": null, "c": false}"#,
            ),
            (
                r#"{'a': "it's", 'b': 'say "x"'}"#,
                r#"{"a": "it's", "b": "say \"x\""}"#,
            ),
            (
                r"{'a': 'it\'s \x41 \\ \n'}",
                r#"{"a": "it's \u0041 \\ \n"}"#,
            ),
            (r#"{"NUL": "True", "T": 1}"#, r#"{"NUL": "True", "T": 1}"#),
            (r#"{"a": 1E5, "b": -2.5E-3}"#, r#"{"a": 1E5, "b": -2.5E-3}"#),
            ("{'a': '€'}", r#"{"a": "€"}"#),
        ] {
            let read = to_json(python);
            assert_eq!((read.json.as_str(), read.filtered), (json, false));
            serde_json::from_str::<serde_json::Value>(json).unwrap();
        }
    }

    #[test]
    fn what_was_filtered_out_is_null_and_told() {
        let read = to_json(r#"{"seconds":  TIMESTAMP, "len": [LEN], "d": NODE_NAME}"#);
        assert!(read.filtered);
        assert_eq!(read.json, r#"{"seconds":  null, "len": [null], "d": null}"#);
        let read = to_json("{'offset': (filtered), 'b': '(filtered)'}");
        assert!(read.filtered);
        assert_eq!(read.json, r#"{"offset": null, "b": "(filtered)"}"#);
        assert_eq!(to_json("{'a': (1)}").json, "{\"a\": (1)}");
        assert_eq!(to_json("{'a': (b").json, "{\"a\": (b");
        // In place of members.
        assert_eq!(
            to_json("{\n    QMP_VERSION\n}").json,
            "{\n    \"QMP\": {}\n}"
        );
        assert_eq!(to_json("{ STUFF }").json, "{ \"\": null }");
        // A word that is none of these stays, and is no JSON.
        assert_eq!(to_json("{\"a\": Nope}").json, "{\"a\": Nope}");
    }
}
