//! Bytes to tokens: a machine that takes one byte at a time, whatever pieces they come in.
//!
//! ```text
//!   start ── " ' ─▶ string ── " ' ─▶ token          start ── a–z ─▶ keyword ── other ─▶ token, other again
//!     │                └ \ ─▶ escape ─▶ string        start ── 0–9 - ─▶ number … ── other ─▶ token, other again
//!     ├── { } [ ] : , ─▶ token
//!     ├── blank ─▶ start
//!     └── what fits nowhere: the bytes so far and this one are an error
//!   error ─▶ recovery ── control, { } [ ] : , 0xFE 0xFF ─▶ start, this byte again
//! ```
//!
//! What is no token is told once, and then skipped up to a byte that may begin something: a control
//! character such as the line's end, or punctuation. So a broken message does not take the next one with
//! it.

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `{`
    BraceOpen,
    /// `}`
    BraceClose,
    /// `[`
    BracketOpen,
    /// `]`
    BracketClose,
    /// `:`
    Colon,
    /// `,`
    Comma,
    /// With its quotes, escapes as written.
    String,
    /// A number without fraction and exponent.
    Integer,
    /// A number with one of them.
    Float,
    /// Small letters: `true`, `false`, `null`, or a mistake.
    Keyword,
    /// What is no token.
    Error,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Start,
    Double,
    DoubleEscape,
    Single,
    SingleEscape,
    Keyword,
    Sign,
    Zero,
    Digits,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
    Recovery,
}

/// What becomes of a byte.
enum Step {
    /// It belongs to the token.
    Take(State),
    /// It is the token's last.
    Last(Kind),
    /// The token ended before it; it is looked at again.
    Before(Kind),
    /// It belongs to nothing.
    Drop(State),
    /// It is looked at again.
    Again,
    /// The token is none, up to and with this byte.
    Error,
}

/// The machine. Holds the bytes of the token it is in.
#[derive(Debug, Default)]
pub struct Lexer {
    state: State,
    token: Vec<u8>,
}

impl Lexer {
    /// Takes one byte, and gives `emit` each token that ends with it or before it.
    pub fn feed(&mut self, byte: u8, mut emit: impl FnMut(Kind, &[u8])) {
        loop {
            match step(self.state, byte) {
                Step::Take(state) => {
                    self.token.push(byte);
                    self.state = state;
                    return;
                }
                Step::Last(kind) => {
                    self.token.push(byte);
                    self.end(State::Start, kind, &mut emit);
                    return;
                }
                Step::Before(kind) => self.end(State::Start, kind, &mut emit),
                Step::Drop(state) => {
                    self.state = state;
                    return;
                }
                Step::Again => self.state = State::Start,
                Step::Error => {
                    self.token.push(byte);
                    self.end(State::Recovery, Kind::Error, &mut emit);
                    return;
                }
            }
        }
    }

    fn end(&mut self, next: State, kind: Kind, emit: &mut impl FnMut(Kind, &[u8])) {
        emit(kind, &self.token);
        self.token.clear();
        self.state = next;
    }

    /// How many bytes of a token are there whose end is not.
    pub fn held_bytes(&self) -> usize {
        self.token.len()
    }

    /// Forgets the token it is in, and skips what is left of it as what is no token is skipped.
    pub fn give_up(&mut self) {
        self.token.clear();
        // What a long token grew to is not kept.
        self.token.shrink_to(4096);
        self.state = State::Recovery;
    }
}

fn step(state: State, byte: u8) -> Step {
    match state {
        State::Start => start(byte),
        State::Double => in_string(byte, b'"', State::Double, State::DoubleEscape),
        State::Single => in_string(byte, b'\'', State::Single, State::SingleEscape),
        State::DoubleEscape => escaped(byte, State::Double),
        State::SingleEscape => escaped(byte, State::Single),
        State::Keyword => match byte {
            b'a'..=b'z' => Step::Take(State::Keyword),
            _ => Step::Before(Kind::Keyword),
        },
        State::Sign => match byte {
            b'0' => Step::Take(State::Zero),
            b'1'..=b'9' => Step::Take(State::Digits),
            _ => Step::Error,
        },
        State::Zero => match byte {
            b'0'..=b'9' => Step::Error,
            b'.' => Step::Take(State::Point),
            _ => Step::Before(Kind::Integer),
        },
        State::Digits => match byte {
            b'0'..=b'9' => Step::Take(State::Digits),
            b'.' => Step::Take(State::Point),
            b'e' | b'E' => Step::Take(State::Exponent),
            _ => Step::Before(Kind::Integer),
        },
        State::Point => digit_or(byte, State::Fraction, Step::Error),
        State::Fraction => match byte {
            b'e' | b'E' => Step::Take(State::Exponent),
            _ => digit_or(byte, State::Fraction, Step::Before(Kind::Float)),
        },
        State::Exponent => match byte {
            b'+' | b'-' => Step::Take(State::ExponentSign),
            _ => digit_or(byte, State::ExponentDigits, Step::Error),
        },
        State::ExponentSign => digit_or(byte, State::ExponentDigits, Step::Error),
        State::ExponentDigits => digit_or(byte, State::ExponentDigits, Step::Before(Kind::Float)),
        State::Recovery => match byte {
            0..=0x1f | b'{' | b'}' | b'[' | b']' | b':' | b',' | 0xfe | 0xff => Step::Again,
            _ => Step::Drop(State::Recovery),
        },
    }
}

fn start(byte: u8) -> Step {
    match byte {
        b' ' | b'\t' | b'\r' | b'\n' => Step::Drop(State::Start),
        b'"' => Step::Take(State::Double),
        b'\'' => Step::Take(State::Single),
        b'a'..=b'z' => Step::Take(State::Keyword),
        b'0' => Step::Take(State::Zero),
        b'1'..=b'9' => Step::Take(State::Digits),
        b'-' => Step::Take(State::Sign),
        b'{' => Step::Last(Kind::BraceOpen),
        b'}' => Step::Last(Kind::BraceClose),
        b'[' => Step::Last(Kind::BracketOpen),
        b']' => Step::Last(Kind::BracketClose),
        b':' => Step::Last(Kind::Colon),
        b',' => Step::Last(Kind::Comma),
        _ => Step::Error,
    }
}

/// Control characters, and the two bytes that UTF-8 never has, end a string as an error.
fn in_string(byte: u8, quote: u8, inside: State, escape: State) -> Step {
    match byte {
        _ if byte == quote => Step::Last(Kind::String),
        b'\\' => Step::Take(escape),
        _ => escaped(byte, inside),
    }
}

fn escaped(byte: u8, inside: State) -> Step {
    match byte {
        0x20..=0xfd => Step::Take(inside),
        _ => Step::Error,
    }
}

fn digit_or(byte: u8, digits: State, other: Step) -> Step {
    if byte.is_ascii_digit() {
        Step::Take(digits)
    } else {
        other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(text: &[u8]) -> Vec<(Kind, String)> {
        let mut lexer = Lexer::default();
        let mut found = Vec::new();
        for &byte in text {
            lexer.feed(byte, |kind, token| {
                found.push((kind, String::from_utf8_lossy(token).into_owned()));
            });
        }
        found
    }

    #[test]
    fn what_is_no_token_is_skipped_up_to_punctuation_or_a_control_character() {
        let shown = |text: &[u8]| -> Vec<String> {
            let tokens = tokens(text).into_iter();
            tokens
                .map(|(kind, text)| format!("{kind:?} {text:?}"))
                .collect()
        };
        assert_eq!(
            shown(b"@ab \"x\" []\n"),
            ["Error \"@\"", "BracketOpen \"[\"", "BracketClose \"]\"",]
        );
        assert_eq!(shown(b"-01,"), ["Error \"-01\"", "Comma \",\""]);
        assert_eq!(shown(b"@ab\ntrue\n"), ["Error \"@\"", "Keyword \"true\""]);
        // The byte that makes it an error is part of it, also where it is a line's end.
        assert_eq!(shown(b"\"a\ntrue\n"), ["Error \"\\\"a\\n\""]);
    }

    #[test]
    fn numbers_end_at_what_cannot_go_on() {
        use Kind::{Float, Integer, Keyword};
        let kinds =
            |text: &[u8]| -> Vec<Kind> { tokens(text).into_iter().map(|(kind, _)| kind).collect() };
        assert_eq!(
            kinds(b"0 -0 12 1.5 1e5 0.5E-3 1E+2 "),
            [Integer, Integer, Integer, Float, Float, Float, Float]
        );
        // A zero has no exponent of its own.
        assert_eq!(kinds(b"0e1 "), [Integer, Keyword, Integer]);
    }
}
