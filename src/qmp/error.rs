//! What a command is answered when it is not carried out.

use std::fmt;

use crate::engine::EngineError;

/// The class of an error, as clients tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Any, unless told otherwise.
    Generic,
    /// There is no such command, or not now.
    CommandNotFound,
    /// There is no such block job.
    DeviceNotActive,
}

impl Class {
    /// As QMP spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Class::Generic => "GenericError",
            Class::CommandNotFound => "CommandNotFound",
            Class::DeviceNotActive => "DeviceNotActive",
        }
    }
}

/// An error, in QEMU's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Its class.
    pub class: Class,
    /// The words.
    pub words: String,
}

impl Error {
    /// One of class `CommandNotFound`.
    pub fn no_command(words: impl Into<String>) -> Error {
        Error {
            class: Class::CommandNotFound,
            words: words.into(),
        }
    }
}

/// Words alone are a generic error.
impl From<String> for Error {
    fn from(words: String) -> Error {
        Error {
            class: Class::Generic,
            words,
        }
    }
}

impl From<&str> for Error {
    fn from(words: &str) -> Error {
        words.to_owned().into()
    }
}

impl From<EngineError> for Error {
    fn from(error: EngineError) -> Error {
        let class = match error.class() {
            "DeviceNotActive" => Class::DeviceNotActive,
            _ => Class::Generic,
        };
        Error {
            class,
            words: error.to_string(),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.class.name(), self.words)
    }
}

impl std::error::Error for Error {}
