//! The tokens of one message to a value.
//!
//! Errors are QEMU's words, less their beginning `JSON parse error, `. Strings are UTF-8 without surrogates
//! and noncharacters, in which a zero may also be written as two bytes (`C0 80`).

use serde_json::{Map, Number, Value};

use super::lexer::Kind;
use super::reader::Token;

/// The first value in `tokens`, whose bytes are in `text`.
pub(super) fn parse(tokens: &[Token], text: &[u8]) -> Result<Value, String> {
    Parser {
        tokens,
        text,
        next: 0,
    }
    .value()
}

struct Parser<'a> {
    tokens: &'a [Token],
    text: &'a [u8],
    next: usize,
}

fn error<T>(words: &str) -> Result<T, String> {
    Err(words.to_owned())
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Result<Kind, String> {
        match self.tokens.get(self.next) {
            Some(token) => Ok(token.kind),
            None => error("premature EOI"),
        }
    }

    fn take(&mut self) -> Result<(Kind, &'a [u8]), String> {
        let kind = self.peek()?;
        let token = self.tokens[self.next];
        self.next += 1;
        Ok((kind, &self.text[token.start..token.end]))
    }

    fn value(&mut self) -> Result<Value, String> {
        let (kind, bytes) = self.take()?;
        match kind {
            Kind::BraceOpen => self.object(),
            Kind::BracketOpen => self.array(),
            Kind::String => string(bytes).map(Value::String),
            Kind::Integer | Kind::Float => Ok(number(kind, bytes)),
            Kind::Keyword => match bytes {
                b"true" => Ok(Value::Bool(true)),
                b"false" => Ok(Value::Bool(false)),
                b"null" => Ok(Value::Null),
                _ => Err(format!(
                    "invalid keyword '{}'",
                    String::from_utf8_lossy(bytes)
                )),
            },
            _ => error("expecting value"),
        }
    }

    fn object(&mut self) -> Result<Value, String> {
        let mut members = Map::new();
        if self.peek()? == Kind::BraceClose {
            self.next += 1;
            return Ok(Value::Object(members));
        }
        loop {
            self.peek()?;
            let Value::String(key) = self.value()? else {
                return error("key is not a string in object");
            };
            if self.take()?.0 != Kind::Colon {
                return error("missing : in object pair");
            }
            let value = self.value()?;
            if members.contains_key(&key) {
                return error("duplicate key");
            }
            members.insert(key, value);
            match self.take()?.0 {
                Kind::BraceClose => return Ok(Value::Object(members)),
                Kind::Comma => {}
                _ => return error("expected separator in dict"),
            }
        }
    }

    fn array(&mut self) -> Result<Value, String> {
        let mut elements = Vec::new();
        if self.peek()? == Kind::BracketClose {
            self.next += 1;
            return Ok(Value::Array(elements));
        }
        loop {
            elements.push(self.value()?);
            match self.take()?.0 {
                Kind::BracketClose => return Ok(Value::Array(elements)),
                Kind::Comma => {}
                _ => return error("expected separator in list"),
            }
        }
    }
}

/// A number as QEMU keeps it: signed, else unsigned, else floating. One that is too large even for that
/// becomes the largest there is, where QEMU's becomes infinite, which is no JSON.
fn number(kind: Kind, bytes: &[u8]) -> Value {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    if kind == Kind::Integer {
        if let Ok(signed) = text.parse::<i64>() {
            return signed.into();
        }
        if let Ok(unsigned) = text.parse::<u64>() {
            return unsigned.into();
        }
    }
    let float: f64 = text.parse().unwrap_or_default();
    let finite = float.clamp(f64::MIN, f64::MAX);
    // Finite numbers are numbers.
    Number::from_f64(finite).map_or(Value::Null, Value::Number)
}

/// A string token, with its quotes.
fn string(token: &[u8]) -> Result<String, String> {
    let inside = &token[1..token.len() - 1];
    let mut out = String::with_capacity(inside.len());
    let mut at = 0;
    while let Some(&byte) = inside.get(at) {
        if byte == b'\\' {
            at += escape(&token[1 + at..], &mut out)?;
            continue;
        }
        let (found, length) = character(&inside[at..]);
        out.push(found.ok_or_else(|| "invalid UTF-8 sequence in string".to_owned())?);
        at += length;
    }
    Ok(out)
}

/// The escape that `rest`, a token to its end, begins with; how long it is.
fn escape(rest: &[u8], out: &mut String) -> Result<usize, String> {
    // A lexer that ends a string knows that a backslash is not its last.
    let simple = match rest.get(1) {
        Some(&quote @ (b'"' | b'\'' | b'\\' | b'/')) => char::from(quote),
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => return unicode(rest, out),
        _ => return error("invalid escape sequence in string"),
    };
    out.push(simple);
    Ok(2)
}

/// `\uXXXX`, or two of them for what is beyond the first plane.
fn unicode(rest: &[u8], out: &mut String) -> Result<usize, String> {
    let first = rest.get(2..6).and_then(four_digits);
    let paired = |high: u32| {
        let low = rest.get(8..12).and_then(four_digits)?;
        let both = 0x1_0000 + ((high & 0x3ff) << 10) + (low & 0x3ff);
        (0xdc00..=0xdfff).contains(&low).then_some((both, 12))
    };
    let found = match first {
        Some(high @ 0xd800..=0xdbff) if rest.get(6..8) == Some(b"\\u") => paired(high),
        Some(code) => Some((code, 6)),
        None => None,
    };
    let character = found.and_then(|(code, length)| {
        Some((
            char::from_u32(code).filter(|character| is_character(*character))?,
            length,
        ))
    });
    let Some((character, length)) = character else {
        let shown = shown(&rest[..rest.len().min(6)]);
        return Err(format!("{shown} is not a valid Unicode character"));
    };
    out.push(character);
    Ok(length)
}

fn four_digits(digits: &[u8]) -> Option<u32> {
    let value = |digit: &u8| char::from(*digit).to_digit(16);
    digits
        .iter()
        .try_fold(0, |sum, digit| Some(sum * 16 + value(digit)?))
}

/// The character at the beginning of `bytes`, none where it is none; how many bytes it has, at least one where there is
/// one. UTF-8, in which a zero may also be `C0 80`, without surrogates, and without what Unicode keeps for nobody.
fn character(bytes: &[u8]) -> (Option<char>, usize) {
    let Some(&first) = bytes.first() else {
        return (None, 0);
    };
    // How long it says it is: up to six bytes, as it once was.
    let length = first.leading_ones() as usize;
    if length == 0 {
        return (Some(char::from(first)), 1);
    }
    if length == 1 || length > 6 {
        return (None, 1);
    }
    let mut code = u64::from(first) & (0x7f >> length);
    for place in 1..length {
        match bytes.get(place) {
            Some(&byte) if byte & 0xc0 == 0x80 => code = code << 6 | u64::from(byte & 0x3f),
            _ => return (None, place),
        }
    }
    // The least that needs so many bytes.
    let least = [0x80, 0x800, 0x1_0000, 0x20_0000, 0x400_0000][length - 2];
    let enough = code >= least || (code == 0 && length == 2);
    let found = u32::try_from(code).ok().and_then(char::from_u32);
    (found.filter(|found| enough && is_character(*found)), length)
}

/// Bytes that may be anything, as they are shown: U+FFFD for each sequence that is no character, up to the first zero, as
/// QEMU's words are C strings.
pub(super) fn shown(bytes: &[u8]) -> String {
    let mut rest = c_string(bytes);
    let mut out = String::new();
    while !rest.is_empty() {
        let (found, length) = character(rest);
        out.push(found.unwrap_or(char::REPLACEMENT_CHARACTER));
        rest = &rest[length..];
    }
    out
}

/// The bytes up to the first zero.
fn c_string(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|&byte| byte == 0);
    &bytes[..end.unwrap_or(bytes.len())]
}

fn is_character(character: char) -> bool {
    let code = u32::from(character);
    !(0xfdd0..=0xfdef).contains(&code) && code & 0xfffe != 0xfffe
}

#[cfg(test)]
mod tests {
    use super::super::reader::Reader;
    use super::*;
    use serde_json::json;

    fn read(text: &[u8]) -> Result<Value, String> {
        let mut found = Vec::new();
        Reader::default().feed(text, |message| found.push(message));
        assert_eq!(found.len(), 1, "{found:?}");
        found.remove(0)
    }

    fn refused(text: &[u8]) -> String {
        let error = read(text).unwrap_err();
        error
            .strip_prefix("JSON parse error, ")
            .expect("the words begin so")
            .to_owned()
    }

    /// Each as a QEMU of 10.0 says it.
    #[test]
    fn mistakes_have_their_words() {
        for (text, words) in [
            (&b"{\"a\":1,}"[..], "expecting value"),
            (b"{\"a\" 1}", "missing : in object pair"),
            (b"{\"a\":}", "expecting value"),
            (b"{5:5}", "key is not a string in object"),
            (b"{\"a\":1 \"b\":2}", "expected separator in dict"),
            (b"{\"a\":1,\"a\":2}", "duplicate key"),
            (b"[1 2]", "expected separator in list"),
            (b"[}", "expecting value"),
            (b"nulll ", "invalid keyword 'nulll'"),
            (b"\"\\q\"", "invalid escape sequence in string"),
            (b"\"\\u12\"", "\\u12\" is not a valid Unicode character"),
            (
                b"\"\\ud83d\\u0041\"",
                "\\ud83d is not a valid Unicode character",
            ),
            (b"\"\\ufdd0\"", "\\ufdd0 is not a valid Unicode character"),
            (b"\"\xc3\"", "invalid UTF-8 sequence in string"),
            (b"\"\xed\xa0\x80\"", "invalid UTF-8 sequence in string"),
        ] {
            assert_eq!(refused(text), words, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn values_are_what_they_say() {
        let text = "{\"s\":'a\"\\'\\u00e9\\ud83d\\ude00\u{e4}','n':[0,-0,18446744073709551615,\
                    -9223372036854775809,1e400,2.5],'k':[true,false,null]}";
        assert_eq!(
            read(text.as_bytes()).unwrap(),
            json!({"s": "a\"'é😀ä", "n": [0, 0, u64::MAX, -9_223_372_036_854_775_808.0, f64::MAX, 2.5],
                   "k": [true, false, null]})
        );
        assert_eq!(read(b"\"\xc0\x80\"").unwrap(), json!("\0"));
    }
}
