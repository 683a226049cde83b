//! Pieces of JSON as they stand in the line, borrowed, whose type has still to be judged.
//!
//! A field of the wrong type is not a malformed trace: it is a fault of whoever sent it. So
//! fields are kept as they were written and asked for their type later.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::scan;
use crate::oracle::error::TraceError;

/// A field: absent, or some JSON.
#[derive(Clone, Copy, Default)]
pub struct Piece<'a> {
    /// Empty: it is absent. No JSON is.
    text: &'a str,
    /// It is known to be a string without escapes.
    plain: bool,
}

impl<'a> Piece<'a> {
    /// It is not there.
    pub const ABSENT: Piece<'static> = Piece {
        text: "",
        plain: false,
    };

    /// This text, which is some JSON.
    pub(super) const fn written(text: &'a str) -> Piece<'a> {
        Piece { text, plain: false }
    }

    /// This text, which is a string without escapes.
    pub(super) const fn plain_string(text: &'a str) -> Piece<'a> {
        Piece { text, plain: true }
    }

    /// It is there.
    pub const fn is_present(self) -> bool {
        !self.text.is_empty()
    }

    /// Its text as it stands in the line; empty when it is absent.
    pub const fn text(self) -> &'a str {
        self.text
    }

    /// The same; `None` when it is absent.
    const fn present(self) -> Option<&'a str> {
        if self.is_present() {
            Some(self.text)
        } else {
            None
        }
    }

    /// Its value, if it is a string.
    #[inline]
    pub fn as_str(self) -> Option<Cow<'a, str>> {
        if self.plain {
            let inner = self.text.get(1..self.text.len() - 1)?;
            return Some(Cow::Borrowed(inner));
        }
        self.as_any_str()
    }

    /// The same, whatever stands there.
    fn as_any_str(self) -> Option<Cow<'a, str>> {
        let text = self.present()?;
        let bytes = text.as_bytes();
        if bytes.len() < 2 || bytes[0] != b'"' {
            return None;
        }
        // JSON that begins with a quotation mark ends with one.
        let inner = text.get(1..text.len() - 1)?;
        if memchr::memchr(b'\\', inner.as_bytes()).is_some() {
            serde_json::from_str::<String>(text).ok().map(Cow::Owned)
        } else {
            Some(Cow::Borrowed(inner))
        }
    }

    /// Its value, if it is an integer; numbers beyond 64 bits are not.
    pub fn as_integer(self) -> Option<i128> {
        let text = self.present()?;
        text.parse::<i64>()
            .map(i128::from)
            .or_else(|_| text.parse::<u64>().map(i128::from))
            .ok()
    }

    /// Its value, if it is a boolean.
    pub fn as_bool(self) -> Option<bool> {
        match self.text {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    /// It is an object.
    pub fn is_object(self) -> bool {
        self.text.starts_with('{')
    }

    /// It is the object without members.
    pub fn is_empty_object(self) -> bool {
        self.text == "{}"
            || self
                .text
                .strip_prefix('{')
                .and_then(|rest| rest.strip_suffix('}'))
                .is_some_and(|inner| inner.trim().is_empty())
    }

    /// What it is, for people: `a string`, `a number` …
    pub fn kind(self) -> &'static str {
        match self.text.bytes().next() {
            None => "absent",
            Some(b'"') => "a string",
            Some(b'{') => "an object",
            Some(b'[') => "a list",
            Some(b't' | b'f') => "a boolean",
            Some(b'n') => "null",
            Some(_) => "a number",
        }
    }

    /// Reads it as `T`; `None` when it is absent or no `T`.
    pub fn read<T: Deserialize<'a>>(self) -> Option<T> {
        serde_json::from_str(self.present()?).ok()
    }

    /// Reads its members as `T`; none of them where it is no object, `None` when it is absent.
    pub fn read_members<T: Members<'a> + Deserialize<'a>>(self) -> Option<T> {
        let mut found = T::default();
        match scan::members(self.present()?, &mut found) {
            Some(()) => Some(found),
            None => self.read(),
        }
    }

    /// Reads it as a list, and the members of each element as `T`; `None` when it is absent or no list.
    pub fn read_list<T: Members<'a> + Deserialize<'a>>(self) -> Option<Vec<T>> {
        scan::list(self.present()?).or_else(|| self.read())
    }

    /// Whether both are the same value, however they are written.
    pub fn same_value(self, other: &str) -> bool {
        let text = self.text();
        text == other
            || matches!(
                (
                    serde_json::from_str::<serde_json::Value>(text),
                    serde_json::from_str::<serde_json::Value>(other),
                ),
                (Ok(one), Ok(two)) if one == two
            )
    }
}

impl fmt::Debug for Piece<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Piece").field(&self.present()).finish()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Piece<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Not through `Option`, which would take `null` for absent.
        <&'a RawValue>::deserialize(deserializer).map(|raw| Piece::written(raw.get()))
    }
}

/// All members of an object, in order; of anything else, none.
#[derive(Debug, Default)]
pub struct AllMembers<'a>(Vec<(Cow<'a, str>, Piece<'a>)>);

impl<'a> AllMembers<'a> {
    /// The members of `piece`; none if it is no object.
    pub fn of(piece: Piece<'a>) -> AllMembers<'a> {
        if !piece.is_object() {
            return AllMembers::default();
        }
        let mut all = Vec::with_capacity(8);
        let fast = scan::pairs(piece.text(), |name, piece| {
            all.push((Cow::Borrowed(name), piece));
        });
        match fast {
            Some(()) => AllMembers(all),
            None => piece.read().unwrap_or_default(),
        }
    }

    /// What `of` says of each name and its value.
    #[cfg(test)]
    pub fn named<T>(&self, of: impl Fn(&str, Piece<'a>) -> T) -> Vec<T> {
        self.0
            .iter()
            .map(|(name, piece)| of(name, *piece))
            .collect()
    }

    /// The member `key`; absent if there is none. Of one written twice the last counts.
    pub fn get(&self, key: &str) -> Piece<'a> {
        self.0
            .iter()
            .rfind(|(name, _)| name == key)
            .map_or_else(Piece::default, |(_, piece)| *piece)
    }

    /// Every name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_ref())
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for AllMembers<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All<'a>(std::marker::PhantomData<&'a ()>);
        impl<'de: 'a, 'a> Visitor<'de> for All<'a> {
            type Value = AllMembers<'a>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut all = Vec::new();
                while let Some(Key(key)) = map.next_key()? {
                    all.push((key, map.next_value()?));
                }
                Ok(AllMembers(all))
            }
        }
        deserializer.deserialize_map(All(std::marker::PhantomData))
    }
}

/// A member's name, borrowed where it has no escapes.
struct Key<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a member's name")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(text)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// Declares a struct of [`Piece`]s that is read from a JSON object of any other members, and
/// from anything that is no object as `object: false`.
macro_rules! pieces {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $key:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default)]
        pub struct $name<'a> {
            /// It was an object at all.
            pub object: bool,
            $($(#[$field_doc])* pub $field: $crate::oracle::reader::json::Piece<'a>,)+
        }

        const _: () = {
            /// Which of them.
            #[allow(non_camel_case_types)]
            #[derive(Clone, Copy, PartialEq, Eq)]
            pub enum Name {
                $($field,)+
            }

            impl<'a> $crate::oracle::reader::json::Members<'a> for $name<'a> {
                type Name = Name;

                #[inline]
                fn named(key: &str) -> Option<Name> {
                    match key {
                        $($key => Some(Name::$field),)+
                        _ => None,
                    }
                }

                #[inline]
                fn begins(eight: u64, text: &[u8]) -> Option<(Name, usize)> {
                    use $crate::oracle::reader::json::{first_eight, first_eight_mask};
                    $(
                        const { assert!(!$key.is_empty()) };
                        let name = concat!("\"", $key, "\": ").as_bytes();
                        if eight & const { first_eight_mask(concat!("\"", $key, "\": ")) }
                            == const { first_eight(concat!("\"", $key, "\": ")) }
                            && (name.len() <= 8 || text.starts_with(name))
                        {
                            return Some((Name::$field, name.len()));
                        }
                    )+
                    None
                }

                #[inline]
                fn member(&mut self, name: Name) -> &mut $crate::oracle::reader::json::Piece<'a> {
                    match name {
                        $(Name::$field => &mut self.$field,)+
                    }
                }

                #[inline]
                fn mark_object(&mut self) {
                    self.object = true;
                }
            }
        };

        impl<'de: 'a, 'a> serde::Deserialize<'de> for $name<'a> {
            fn deserialize<D: serde::Deserializer<'de>>(
                deserializer: D,
            ) -> Result<Self, D::Error> {
                $crate::oracle::reader::json::read_members(deserializer)
            }
        }
    };
}
pub(crate) use pieces;

/// The first eight bytes of `text`, as one number; zeroes behind its end.
pub const fn first_eight(text: &str) -> u64 {
    let (text, mut eight, mut at) = (text.as_bytes(), [0; 8], 0);
    while at < 8 && at < text.len() {
        eight[at] = text[at];
        at += 1;
    }
    u64::from_le_bytes(eight)
}

/// The bits of that number that are of `text`.
pub const fn first_eight_mask(text: &str) -> u64 {
    if text.len() < 8 {
        (1 << (8 * text.len())) - 1
    } else {
        u64::MAX
    }
}

/// What `pieces!` declares: where a member of that name goes.
pub trait Members<'a>: Default {
    /// Which of the members that are asked for.
    type Name: Copy;
    /// The one called `key`, if it is asked for.
    fn named(key: &str) -> Option<Self::Name>;
    /// The one whose name `text` begins with, and how long that is with its quotation marks, a colon and a space, as
    /// QEMU writes them; `eight` are the first eight bytes.
    fn begins(eight: u64, text: &[u8]) -> Option<(Self::Name, usize)>;
    /// Where it goes.
    fn member(&mut self, name: Self::Name) -> &mut Piece<'a>;
    /// An object was found.
    fn mark_object(&mut self);
}

/// Reads an object's members into their places; a scalar or a list leaves all of them absent.
/// Of a member written twice the last counts, as QEMU's parser has it.
pub fn read_members<'de: 'a, 'a, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Members<'a>,
{
    struct Read<'a, T>(std::marker::PhantomData<(&'a (), T)>);

    impl<'de: 'a, 'a, T: Members<'a>> Visitor<'de> for Read<'a, T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("some JSON")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
            let mut found = T::default();
            found.mark_object();
            while let Some(Key(key)) = map.next_key()? {
                if let Some(name) = T::named(&key) {
                    *found.member(name) = map.next_value()?;
                } else {
                    map.next_value::<serde::de::IgnoredAny>()?;
                }
            }
            Ok(found)
        }

        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<T, A::Error> {
            while seq.next_element::<serde::de::IgnoredAny>()?.is_some() {}
            Ok(T::default())
        }

        fn visit_unit<E>(self) -> Result<T, E> {
            Ok(T::default())
        }
        fn visit_bool<E>(self, _: bool) -> Result<T, E> {
            Ok(T::default())
        }
        fn visit_i64<E>(self, _: i64) -> Result<T, E> {
            Ok(T::default())
        }
        fn visit_u64<E>(self, _: u64) -> Result<T, E> {
            Ok(T::default())
        }
        fn visit_f64<E>(self, _: f64) -> Result<T, E> {
            Ok(T::default())
        }
        fn visit_str<E>(self, _: &str) -> Result<T, E> {
            Ok(T::default())
        }
    }

    deserializer.deserialize_any(Read(std::marker::PhantomData))
}

/// Reads one line as `T`.
///
/// # Errors
/// It is not JSON. A cut last line (`whole` is false) that ends too early is `Ok(None)`.
pub fn read_line<'a, T: Deserialize<'a>>(
    text: &'a str,
    line: u64,
    whole: bool,
) -> Result<Option<T>, TraceError> {
    match serde_json::from_str(text) {
        Ok(found) => Ok(Some(found)),
        Err(error) if !whole && error.is_eof() => Ok(None),
        Err(error) => Err(TraceError::Malformed {
            line,
            why: if text.contains('\0') {
                format!(
                    "{} (there are zero bytes in it, as a file system leaves them that lost what was being written)",
                    describe(&error)
                )
            } else {
                describe(&error)
            },
        }),
    }
}

/// What the parser says, with the column; its own line number would always be 1.
fn describe(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((what, _)) => format!("{what} at column {}", error.column()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pieces! {
        /// Two of many.
        Pair { one: "one", two: "two" }
    }

    #[test]
    fn members_are_kept_as_written() {
        let pair: Pair<'_> =
            serde_json::from_str(r#"{"one": null, "x": [1, {"one": 2}], "two": "a\"b"}"#).unwrap();
        assert!(pair.object && pair.one.is_present());
        assert_eq!(pair.one.kind(), "null");
        assert_eq!(pair.two.as_str().unwrap(), "a\"b");
        assert_eq!(pair.one.as_str(), None);
    }

    #[test]
    fn what_is_no_object_has_no_members() {
        for text in ["1", "-1.5", "[1,2]", "\"s\"", "null", "true"] {
            let pair: Pair<'_> = serde_json::from_str(text).unwrap();
            assert!(!pair.object && !pair.one.is_present(), "{text}");
        }
    }

    #[test]
    fn numbers_are_integers_only_where_they_are_written_so() {
        let integer = |text: &'static str| serde_json::from_str::<Piece<'_>>(text).unwrap();
        assert_eq!(
            integer("18446744073709551615").as_integer(),
            Some((1 << 64) - 1)
        );
        assert_eq!(integer("-1").as_integer(), Some(-1));
        assert_eq!(integer("1.5").as_integer(), None);
        assert_eq!(integer("\"1\"").as_integer(), None);
    }

    #[test]
    fn a_cut_line_is_told_from_a_broken_one() {
        assert!(
            read_line::<Pair<'_>>(r#"{"one": 1, "tw"#, 3, false)
                .unwrap()
                .is_none()
        );
        match read_line::<Pair<'_>>(r#"{"one": 1, "tw"#, 3, true) {
            Err(TraceError::Malformed { line: 3, why }) => assert!(why.contains("column"), "{why}"),
            other => panic!("{other:?}"),
        }
        assert!(read_line::<Pair<'_>>("{]", 3, false).is_err());
    }
}
