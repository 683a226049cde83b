//! Tokens to messages: a message is over when its braces and brackets are, or at once where it has none.
//!
//! Limits, with QEMU's words for what goes beyond them:
//!
//! | what | here | QEMU |
//! |---|---|---|
//! | bytes of a message's tokens | [`BYTES_MAX`] | 64 MiB |
//! | tokens of a message | [`TOKENS_MAX`] | 2,097,152 |
//! | braces and brackets inside each other | [`NESTING_MAX`] | the same |

use serde_json::Value;

use super::lexer::{Kind, Lexer};
use super::parser;

/// A message's tokens, in bytes; blanks do not count.
pub const BYTES_MAX: usize = 1 << 20;
/// A message's tokens.
pub const TOKENS_MAX: usize = 1 << 16;
/// Braces and brackets inside each other.
pub const NESTING_MAX: i64 = 1024;

/// A token of the message in hand: its bytes are in the `text` beside it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Reads messages from bytes, in whatever pieces they come. Holds no more than one message.
#[derive(Debug, Default)]
pub struct Reader {
    lexer: Lexer,
    message: Message,
}

#[derive(Debug, Default)]
struct Message {
    tokens: Vec<Token>,
    text: Vec<u8>,
    braces: i64,
    brackets: i64,
}

impl Reader {
    /// Takes `bytes`, and gives `emit` each message that ends in them: its value, or why it is none, in
    /// QEMU's words.
    pub fn feed(&mut self, bytes: &[u8], mut emit: impl FnMut(Result<Value, String>)) {
        for &byte in bytes {
            let message = &mut self.message;
            self.lexer.feed(byte, |kind, token| {
                if let Some(result) = message.take(kind, token) {
                    emit(result);
                }
            });
            if self.lexer.held_bytes() > BYTES_MAX {
                self.lexer.give_up();
                self.message.forget();
                emit(Err("JSON token size limit exceeded".to_owned()));
            }
        }
    }
}

impl Message {
    /// One more token; a result once the message is over.
    fn take(&mut self, kind: Kind, token: &[u8]) -> Option<Result<Value, String>> {
        match kind {
            Kind::BraceOpen => self.braces += 1,
            Kind::BraceClose => self.braces -= 1,
            Kind::BracketOpen => self.brackets += 1,
            Kind::BracketClose => self.brackets -= 1,
            _ => {}
        }
        let beyond = if kind == Kind::Error {
            Some(format!(
                "JSON parse error, stray '{}'",
                parser::shown(token)
            ))
        } else if self.text.len() + token.len() > BYTES_MAX {
            Some("JSON token size limit exceeded".to_owned())
        } else if self.tokens.len() >= TOKENS_MAX {
            Some("JSON token count limit exceeded".to_owned())
        } else if self.braces + self.brackets > NESTING_MAX {
            Some("JSON nesting depth limit exceeded".to_owned())
        } else {
            None
        };
        if let Some(error) = beyond {
            self.forget();
            return Some(Err(error));
        }
        let start = self.text.len();
        self.text.extend_from_slice(token);
        self.tokens.push(Token {
            kind,
            start,
            end: self.text.len(),
        });
        let open = self.braces > 0 || self.brackets > 0;
        // One that closes more than it opened is over as well.
        if open && self.braces >= 0 && self.brackets >= 0 {
            return None;
        }
        let result = parser::parse(&self.tokens, &self.text);
        self.forget();
        Some(result.map_err(|error| format!("JSON parse error, {error}")))
    }

    fn forget(&mut self) {
        self.tokens.clear();
        self.text.clear();
        // What one long message grew to is not kept.
        self.tokens.shrink_to(1024);
        self.text.shrink_to(64 << 10);
        self.braces = 0;
        self.brackets = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(pieces: &[&[u8]]) -> Vec<Result<Value, String>> {
        let mut reader = Reader::default();
        let mut found = Vec::new();
        for piece in pieces {
            reader.feed(piece, |message| found.push(message));
        }
        found
    }

    fn error(text: &str) -> Result<Value, String> {
        Err(text.to_owned())
    }

    #[test]
    fn a_message_ends_where_its_braces_do_whatever_the_pieces() {
        let whole: &[u8] = b"{\"a\": [1, {}]} {'b':\n2}\r\n";
        let expected = [Ok(json!({"a": [1, {}]})), Ok(json!({"b": 2}))];
        assert_eq!(read(&[whole]), expected);
        let bytes: Vec<&[u8]> = whole.chunks(1).collect();
        assert_eq!(read(&bytes), expected);
    }

    #[test]
    fn a_message_that_closes_too_much_is_over() {
        assert_eq!(
            read(&[b"{}}{\"a\":1}\n"]),
            [
                Ok(json!({})),
                error("JSON parse error, expecting value"),
                Ok(json!({"a": 1})),
            ]
        );
    }

    #[test]
    fn limits_are_answered_and_reading_goes_on_behind_them() {
        let mut long = vec![b'"'];
        long.resize(BYTES_MAX + 2, b'x');
        long.extend_from_slice(b"\"\n{\"after\":1}\n");
        assert_eq!(
            read(&[&long]),
            [
                error("JSON token size limit exceeded"),
                Ok(json!({"after": 1}))
            ]
        );
        let many = [b"[".as_slice(), &b"1,".repeat(TOKENS_MAX), b"\n{}\n"].concat();
        let answers = read(&[&many]);
        assert_eq!(answers[0], error("JSON token count limit exceeded"));
        let deep = b"[".repeat(NESTING_MAX as usize + 1);
        assert_eq!(read(&[&deep]), [error("JSON nesting depth limit exceeded")]);
        let deep = [
            b"[".repeat(NESTING_MAX as usize),
            b"]".repeat(NESTING_MAX as usize),
        ]
        .concat();
        assert_eq!(read(&[&deep]).len(), 1);
        assert!(read(&[&deep])[0].is_ok());
    }
}
