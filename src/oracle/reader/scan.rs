//! JSON in one pass, where it is as machines write it: members taken as they stand, the rest skipped.
//!
//! This is the fast way of [`json`](super::json), and takes nothing that the other does not take: where anything is
//! wrong, or rare (escapes in a member's name, `\u`, deep nesting), it says so, and the other way is gone
//! from the beginning. Both yield the same pieces.

use super::json::{Members, Piece};

/// How deep it goes; beyond, the other way decides.
const DEPTH_MAX: u32 = 60;

/// A text on its way.
pub struct Scan<'a> {
    text: &'a str,
    at: usize,
}

/// Which member it is.
#[derive(Clone, Copy)]
enum Which<N> {
    /// One that is asked for.
    Asked(N),
    /// Another.
    Other,
}

/// Puts the members of the object that is all of `text` into `found`, where nothing is yet. Where that is
/// left to the other way, some may have been put there.
#[must_use]
pub fn members<'a>(text: &'a str, found: &mut impl Members<'a>) -> Option<()> {
    let mut scan = Scan::new(text);
    scan.space();
    scan.members(found)?;
    scan.end().then_some(())
}

/// The members of each object of the list that is all of `text`.
pub fn list<'a, T: Members<'a>>(text: &'a str) -> Option<Vec<T>> {
    let mut scan = Scan::new(text);
    let mut all: Vec<T> = Vec::new();
    scan.space();
    if scan.peek()? != b'[' {
        return None;
    }
    scan.list(|scan| {
        if all.capacity() == 0 {
            // There is one as a rule, and room for four is asked of the system each time.
            all.reserve_exact(1);
        }
        all.push(T::default());
        scan.members(all.last_mut()?)
    })?;
    scan.end().then_some(all)
}

/// The object that is all of `text`: each name, and what stands behind it.
pub fn pairs<'a>(text: &'a str, mut each: impl FnMut(&'a str, Piece<'a>)) -> Option<()> {
    let mut scan = Scan::new(text);
    scan.space();
    scan.object(|scan, name| {
        each(name, scan.piece(1)?);
        Some(())
    })?;
    scan.end().then_some(())
}

impl<'a> Scan<'a> {
    /// From the beginning of `text`.
    pub const fn new(text: &'a str) -> Scan<'a> {
        Scan { text, at: 0 }
    }

    #[inline]
    pub fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// What is next, if there is so much.
    #[inline]
    fn next<const N: usize>(&self) -> Option<&'a [u8; N]> {
        self.text.as_bytes().get(self.at..)?.first_chunk()
    }

    /// Passes over this text, if it is next.
    #[inline]
    pub fn pass<const N: usize>(&mut self, text: &[u8; N]) -> Option<()> {
        (self.next()? == text).then(|| self.at += N)
    }

    /// Passes over white space.
    #[inline]
    pub fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Whether nothing follows but white space.
    pub fn end(&mut self) -> bool {
        self.space();
        self.at == self.text.len()
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Goes through an object: `member` takes each name, and the value behind it.
    #[inline]
    pub fn object(
        &mut self,
        mut member: impl FnMut(&mut Scan<'a>, &'a str) -> Option<()>,
    ) -> Option<()> {
        let mut more = self.begin_object()?;
        while more {
            let name = self.plain_string()?;
            self.colon()?;
            member(self, name)?;
            more = self.another(b'}')?;
        }
        Some(())
    }

    /// Passes over what all of this does, or stays where it is.
    #[inline]
    pub fn attempt<T>(&mut self, way: impl FnOnce(&mut Scan<'a>) -> Option<T>) -> Option<T> {
        let start = self.at;
        let found = way(self);
        if found.is_none() {
            self.at = start;
        }
        found
    }

    /// Passes over the colon behind a name, and the space around it.
    #[inline]
    fn colon(&mut self) -> Option<()> {
        // As QEMU and Python write it.
        if let Some([b':', b' ', value]) = self.next()
            && *value > b' '
        {
            self.at += 2;
            return Some(());
        }
        self.space();
        self.expect(b':')?;
        self.space();
        Some(())
    }

    /// Behind a value: passes over the comma, and says whether there is one; else over what ends the whole.
    #[inline]
    fn another(&mut self, end: u8) -> Option<bool> {
        if let Some([b',', b' ', value]) = self.next()
            && *value > b' '
        {
            self.at += 2;
            return Some(true);
        }
        self.space();
        let byte = self.peek()?;
        self.at += 1;
        if byte == end {
            return Some(false);
        }
        self.space();
        (byte == b',').then_some(true)
    }

    /// Passes over the name of the next member, and the colon.
    #[inline]
    fn name<T: Members<'a>>(&mut self) -> Option<Which<T::Name>> {
        if let Some(eight) = self.next() {
            let text = &self.text.as_bytes()[self.at..];
            if let Some((name, length)) = T::begins(u64::from_le_bytes(*eight), text) {
                self.at += length;
                return Some(Which::Asked(name));
            }
        }
        let name = self.plain_string()?;
        self.colon()?;
        Some(T::named(name).map_or(Which::Other, Which::Asked))
    }

    /// Goes to the first member of an object, which is next; nothing there, behind it.
    #[inline]
    pub fn begin_object(&mut self) -> Option<bool> {
        self.expect(b'{')?;
        if self.peek()? != b'"' {
            self.space();
            if self.peek()? == b'}' {
                self.at += 1;
                return Some(false);
            }
        }
        Some(true)
    }

    /// The members of an object, into their places.
    #[inline]
    pub fn members<T: Members<'a>>(&mut self, found: &mut T) -> Option<()> {
        let mut more = self.begin_object()?;
        while more {
            let name = self.name::<T>()?;
            let piece = self.piece(0)?;
            if let Which::Asked(name) = name {
                *found.member(name) = piece;
            }
            more = self.another(b'}')?;
        }
        found.mark_object();
        Some(())
    }

    /// The same, but what `nested` says of takes part with its own members; from the first name on.
    #[inline]
    pub fn rest_of_members<T: Members<'a>>(
        &mut self,
        found: &mut T,
        nested: impl Fn(T::Name) -> bool,
        inner: &mut Option<impl Members<'a>>,
    ) -> Option<()> {
        loop {
            let name = self.name::<T>()?;
            let piece = match name {
                Which::Asked(name) if nested(name) => {
                    self.piece_with(inner.insert(Default::default()))?
                }
                _ => self.piece(0)?,
            };
            if let Which::Asked(name) = name {
                *found.member(name) = piece;
            }
            if !self.another(b'}')? {
                found.mark_object();
                return Some(());
            }
        }
    }

    /// The next value, as it stands; the members of an object go into their places too.
    #[inline]
    pub fn piece_with(&mut self, found: &mut impl Members<'a>) -> Option<Piece<'a>> {
        let start = self.at;
        if self.peek()? != b'{' {
            return self.piece(0);
        }
        self.members(found)?;
        Some(Piece::written(&self.text[start..self.at]))
    }

    /// A string without escapes; what is in it.
    #[inline]
    pub fn plain_string(&mut self) -> Option<&'a str> {
        let start = self.at + 1;
        self.string()?.then(|| &self.text[start..self.at - 1])
    }

    /// The next value, as it stands.
    #[inline]
    pub fn piece(&mut self, depth: u32) -> Option<Piece<'a>> {
        let start = self.at;
        if self.peek()? == b'"' {
            let plain = self.string()?;
            let text = &self.text[start..self.at];
            return Some(if plain {
                Piece::plain_string(text)
            } else {
                Piece::written(text)
            });
        }
        self.skip(depth)?;
        Some(Piece::written(&self.text[start..self.at]))
    }

    /// Passes over a value.
    pub fn skip(&mut self, depth: u32) -> Option<()> {
        match self.peek()? {
            b'"' => self.string().map(|_| ()),
            b'{' if depth < DEPTH_MAX => self.object(|scan, _| scan.skip(depth + 1)),
            b'[' if depth < DEPTH_MAX => self.list(|scan| scan.skip(depth + 1)),
            b't' => self.word("true"),
            b'f' => self.word("false"),
            b'n' => self.word("null"),
            b'-' | b'0'..=b'9' => self.number(),
            _ => None,
        }
    }

    /// Goes through a list, whose bracket is next: `element` takes each value.
    fn list(&mut self, mut element: impl FnMut(&mut Scan<'a>) -> Option<()>) -> Option<()> {
        self.at += 1;
        self.space();
        if self.peek()? == b']' {
            self.at += 1;
            return Some(());
        }
        loop {
            element(self)?;
            if !self.another(b']')? {
                return Some(());
            }
        }
    }

    fn word(&mut self, word: &str) -> Option<()> {
        self.text.as_bytes()[self.at..]
            .starts_with(word.as_bytes())
            .then(|| self.at += word.len())
    }

    #[inline]
    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while let Some(eight) = self.next() {
            let passed = digits_before(u64::from_le_bytes(*eight));
            self.at += passed;
            if passed < 8 {
                return (self.at > start).then_some(());
            }
        }
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }

    /// Passes over a number.
    #[inline]
    pub fn number(&mut self) -> Option<()> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek()? == b'0' {
            self.at += 1;
            // No further digit may follow; whoever comes next refuses it.
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Some(())
    }

    /// Passes over a string; whether it had no escapes.
    #[inline]
    fn string(&mut self) -> Option<bool> {
        self.expect(b'"')?;
        // Eight at a time; most are plain.
        while let Some(eight) = self.next() {
            let passed = before_it_matters(u64::from_le_bytes(*eight));
            self.at += passed;
            if passed == 8 {
                continue;
            }
            if eight[passed] == b'"' {
                self.at += 1;
                return Some(true);
            }
            break;
        }
        self.rest_of_string()
    }

    /// The same from somewhere in it on.
    fn rest_of_string(&mut self) -> Option<bool> {
        let mut plain = true;
        loop {
            while let Some(eight) = self.next() {
                let passed = before_it_matters(u64::from_le_bytes(*eight));
                self.at += passed;
                if passed < 8 {
                    break;
                }
            }
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Some(plain);
                }
                b'\\' => {
                    plain = false;
                    match self.next()? {
                        [_, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't'] => self.at += 2,
                        _ => return None,
                    }
                }
                0..0x20 => return None,
                _ => self.at += 1,
            }
        }
    }
}

const ONES: u64 = u64::from_le_bytes([0x01; 8]);
const HIGHS: u64 = u64::from_le_bytes([0x80; 8]);

/// How many of eight bytes, the lowest first, come before a quotation mark, a backslash or a control
/// character.
#[inline]
const fn before_it_matters(eight: u64) -> usize {
    // The high bit of each byte that matters. What is borrowed from the next one up may set a bit there too, but
    // the lowest that is set is right. A quotation mark is taken to where it is next to the control characters,
    // and a space to where the quotation mark was.
    let quote_or_control = (eight ^ (0x02 * ONES)).wrapping_sub(0x21 * ONES);
    let backslash = (eight ^ (0x5c * ONES)).wrapping_sub(ONES);
    let matter = (quote_or_control | backslash) & !eight & HIGHS;
    matter.trailing_zeros() as usize / 8
}

/// How many of eight bytes, the lowest first, are digits.
#[inline]
const fn digits_before(eight: u64) -> usize {
    // Digits become 0 to 9; the high bit of each byte that is more. What is carried to the next one up may set a bit
    // there too, but the lowest that is set is right.
    let value = eight ^ (0x30 * ONES);
    let other = (value | value.wrapping_add(0x76 * ONES)) & HIGHS;
    other.trailing_zeros() as usize / 8
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::oracle::reader::json::AllMembers;
    use crate::oracle::reader::qmp::{EventData, Message};

    /// Where the fast way answers, the other one answers the same.
    fn as_the_other(text: &str) -> bool {
        let mut fast = Message::default();
        if members(text, &mut fast).is_none() {
            return false;
        }
        let slow: Message<'_> = serde_json::from_str(text).expect(text);
        assert_eq!(format!("{fast:?}"), format!("{slow:?}"), "{text}");
        let data = fast.data.text();
        let mut fast = EventData::default();
        if members(data, &mut fast).is_some() {
            let slow: EventData<'_> = serde_json::from_str(data).expect(data);
            assert_eq!(format!("{fast:?}"), format!("{slow:?}"), "{text}");
        }
        let listed = format!("[{text},{text} ]");
        if let Some(fast) = list::<Message<'_>>(&listed) {
            let slow: Vec<Message<'_>> = serde_json::from_str(&listed).expect(&listed);
            assert_eq!(format!("{fast:?}"), format!("{slow:?}"), "{text}");
        }
        let mut names = Vec::new();
        if pairs(text, |name, piece| names.push(format!("{name} {piece:?}"))).is_some() {
            let slow: AllMembers<'_> = serde_json::from_str(text).expect(text);
            assert_eq!(
                names,
                slow.named(|name, piece| format!("{name} {piece:?}")),
                "{text}"
            );
        }
        true
    }

    #[test]
    fn what_machines_write_is_read() {
        for text in [
            "{}",
            " { } ",
            r#"{"event":"X","data":{"id":"a\"b\\","len":-0.5e+3,"x":[1,[],{"y":[null,true,false]}]}}"#,
            "{\"return\":\t[ 0 , -1 ]\r\n,\"id\" : \"ü\u{7f}€\"}\n",
            r#"{"id":1,"id":2}"#,
        ] {
            assert!(as_the_other(text), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_or_rare_is_left_to_the_other() {
        for text in [
            "",
            "[]",
            "{",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{\"a\":01}",
            "{\"a\":1.}",
            "{\"a\":1e}",
            "{\"a\":-}",
            "{\"a\":[1,]}",
            "{\"a\":[1 2]}",
            "{\"a\":tru}",
            "{\"a\":\"\u{1}\"}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\\u0041\"}",
            "{\"\\u0061\":1}",
            "{\"a\":1}}",
            "{\"a\":1} x",
            "{a:1}",
        ] {
            assert!(!as_the_other(text), "{text}");
        }
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(100), "]".repeat(100));
        assert!(!as_the_other(&deep));
    }

    #[test]
    fn no_byte_that_matters_is_passed_over_and_no_other_stops() {
        let matters = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
        for byte in 0..=u8::MAX {
            for place in 0..8 {
                for other in [0x20, 0x21, 0x23, 0x7f, 0x80, 0xa0, 0xff, b'[', b']'] {
                    for next in [other, 0, b'"', b'\\', 0x21] {
                        let mut eight = [other; 8];
                        eight[place] = byte;
                        if let Some(next_place) = eight.get_mut(place + 1) {
                            *next_place = next;
                        }
                        let passed = before_it_matters(u64::from_le_bytes(eight));
                        let expected = eight.iter().position(matters).unwrap_or(8);
                        assert_eq!(passed, expected, "{eight:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn digits_are_counted_up_to_what_is_none() {
        for byte in 0..=u8::MAX {
            for place in 0..8 {
                for (other, next) in [(b'0', 0xff), (b'9', b'0'), (b'5', b'/'), (b'5', b':')] {
                    let mut eight = [other; 8];
                    eight[place] = byte;
                    if let Some(next_place) = eight.get_mut(place + 1) {
                        *next_place = next;
                    }
                    let passed = digits_before(u64::from_le_bytes(eight));
                    let expected = eight.iter().position(|byte| !byte.is_ascii_digit());
                    assert_eq!(passed, expected.unwrap_or(8), "{eight:?}");
                }
            }
        }
    }

    proptest! {
        #[test]
        fn both_ways_yield_the_same(
            pieces in prop::collection::vec(
                prop::sample::select(vec![
                    "{", "}", "[", "]", ",", ":", "\"", "\\", "\\\"", "\\u00e9", "\"id\"", "\"data\":", "\"event\":",
                    "\"JOB_STATUS_CHANGE\"", "{\"id\":\"j\"}", "1", "-", "0", ".5", "e+1", "true", "null", " ", "\t", "ü",
                    "\u{1}", "\u{7f}", "\"a\":1,", "\"return\":[]", "\"id\": ", "\"data\": {", "\"event\": \"X\", ", "\"return\": ",
                    "\"exec-oob\": ", ", ",
                ]),
                0..16,
            ),
        ) {
            let text = format!("{{{}}}", pieces.concat());
            as_the_other(&text);
            as_the_other(&pieces.concat());
        }
    }
}
