//! What the server understands, as data: commands, their arguments, what they return, and events.
//!
//! | file | concept |
//! |---|---|
//! | this one | what a type is, and what a command and an event are |
//! | [`table`] | the commands and the events |
//! | [`block`] | the types of nodes |
//! | [`jobs`] | the types of jobs |
//! | [`check`](mod@check) | arguments held against a type, with QEMU's words for what is wrong |
//! | [`introspect`] | the same for clients: `query-qmp-schema` |
//!
//! One table serves both: what the server tells of itself is what it holds arguments against. Names and
//! types are those of QEMU 10.0, as far as they go; `tests/serve_beside_qemu.rs` compares them with a live
//! one.

pub mod block;
pub mod check;
pub mod introspect;
pub mod jobs;
pub mod table;

/// A type.
#[derive(Clone, Copy, Debug)]
pub enum Type {
    /// A string.
    Str,
    /// A number of 64 bits with a sign.
    Int,
    /// `true` or `false`.
    Bool,
    /// One of some words.
    Enum(&'static Enum),
    /// Members by name.
    Object(&'static Object),
    /// Any number of one type.
    Array(&'static Type),
    /// A name of something, or what it is.
    Alternate(&'static Alternate),
}

/// Some words.
#[derive(Debug)]
pub struct Enum {
    /// What the type is called.
    pub name: &'static str,
    /// The words.
    pub values: &'static [&'static str],
}

/// Members by name, some of which depend on the value of one.
#[derive(Debug)]
pub struct Object {
    /// What the type is called.
    pub name: &'static str,
    /// Those it always has, in the order in which they are looked at.
    pub members: &'static [Member],
    /// Further ones.
    pub variants: Option<Variants>,
}

/// A member of an object.
#[derive(Debug)]
pub struct Member {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub kind: Type,
    /// It may be left out.
    pub optional: bool,
}

/// Members that depend on the value of one.
#[derive(Debug)]
pub struct Variants {
    /// That one: an enumeration.
    pub tag: &'static str,
    /// For a value of it the members there are; for others none.
    pub cases: &'static [(&'static str, &'static Object)],
}

/// A string that names something, or an object that says what it is.
#[derive(Debug)]
pub struct Alternate {
    /// What the type is called.
    pub name: &'static str,
    /// The object.
    pub object: &'static Object,
}

/// A command.
#[derive(Debug)]
pub struct Command {
    /// Its name.
    pub name: &'static str,
    /// Its arguments.
    pub arguments: &'static Object,
    /// What it returns.
    pub returns: Type,
}

/// An event.
#[derive(Debug)]
pub struct Event {
    /// Its name.
    pub name: &'static str,
    /// What it carries.
    pub data: &'static Object,
}

/// A member that must be there.
const fn required(name: &'static str, kind: Type) -> Member {
    Member {
        name,
        kind,
        optional: false,
    }
}

/// A member that may be left out.
const fn optional(name: &'static str, kind: Type) -> Member {
    Member {
        name,
        kind,
        optional: true,
    }
}

/// An object without variants.
const fn object(name: &'static str, members: &'static [Member]) -> Object {
    Object {
        name,
        members,
        variants: None,
    }
}

/// Nothing: no arguments, no data, or nothing to return.
pub static EMPTY: Object = object("empty", &[]);
