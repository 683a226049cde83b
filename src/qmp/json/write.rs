//! A value to a line, as QEMU writes it: `, ` and `: ` between, ASCII alone, floating numbers with 17 digits.

use std::fmt::Write as _;

use serde_json::Value;

/// What ends each message.
pub const END: &[u8] = b"\r\n";

/// Appends `value`.
pub fn value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (None, None, Some(float)) => out.extend_from_slice(general(float).as_bytes()),
            _ => out.extend_from_slice(number.to_string().as_bytes()),
        },
        Value::String(text) => string(out, text),
        Value::Array(elements) => {
            out.push(b'[');
            for (place, element) in elements.iter().enumerate() {
                if place > 0 {
                    out.extend_from_slice(b", ");
                }
                self::value(out, element);
            }
            out.push(b']');
        }
        Value::Object(members) => {
            out.push(b'{');
            for (place, (key, member)) in members.iter().enumerate() {
                if place > 0 {
                    out.extend_from_slice(b", ");
                }
                string(out, key);
                out.extend_from_slice(b": ");
                self::value(out, member);
            }
            out.push(b'}');
        }
    }
}

/// Appends `text` as a string.
pub fn string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for character in text.chars() {
        match character {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\u{8}' => out.extend_from_slice(b"\\b"),
            '\u{c}' => out.extend_from_slice(b"\\f"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            ' '..='~' => out.push(character as u8),
            _ => {
                let mut units = [0; 2];
                let mut escaped = String::new();
                for unit in character.encode_utf16(&mut units) {
                    // Writing to a string cannot fail.
                    let _ = write!(escaped, "\\u{unit:04X}");
                }
                out.extend_from_slice(escaped.as_bytes());
            }
        }
    }
    out.push(b'"');
}

/// C's `%.17g`.
fn general(value: f64) -> String {
    const DIGITS: i32 = 17;
    let scientific = format!("{value:.16e}");
    // It was written so.
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..DIGITS).contains(&exponent) {
        let decimals = (DIGITS - 1 - exponent) as usize;
        return trimmed(&format!("{value:.decimals$}")).to_owned();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", trimmed(mantissa), exponent.abs())
}

fn trimmed(digits: &str) -> &str {
    if digits.contains('.') {
        digits.trim_end_matches('0').trim_end_matches('.')
    } else {
        digits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn written(value: &Value) -> String {
        let mut out = Vec::new();
        self::value(&mut out, value);
        String::from_utf8(out).unwrap()
    }

    /// Each as a QEMU of 10.0 echoes it.
    #[test]
    fn values_are_written_as_qemu_writes_them() {
        for (value, text) in [
            (json!({"a": [1, null, true]}), r#"{"a": [1, null, true]}"#),
            (
                json!("é😀/\u{8}\u{7f}\0"),
                r#""\u00E9\uD83D\uDE00/\b\u007F\u0000""#,
            ),
            (
                json!([1e5, 0.5e-3, -9.223_372_036_854_776e18]),
                "[100000, 0.00050000000000000001, -9.2233720368547758e+18]",
            ),
            (
                json!([1e20, 123_456_789.123_456_79, 0.1]),
                "[1e+20, 123456789.12345679, 0.10000000000000001]",
            ),
            (
                json!([1e-7, 1e-300, 0.0]),
                "[9.9999999999999995e-08, 1e-300, 0]",
            ),
            (
                json!([u64::MAX, i64::MIN]),
                "[18446744073709551615, -9223372036854775808]",
            ),
        ] {
            assert_eq!(written(&value), text);
        }
    }
}
