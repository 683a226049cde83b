//! Errors on demand: the part of QEMU's `blkdebug` with which error policies can be tried from outside.
//!
//! A rule of `inject-error` says which I/O fails:
//!
//! | member | meaning |
//! |---|---|
//! | `event` | `read_aio`: reads; `write_aio`: writes; `flush_to_disk`: flushes; `none`: any |
//! | `iotype` | of those, this type alone |
//! | `errno` | with this error; 5 (`EIO`) unless told otherwise |
//! | `sector` | where it touches this sector of 512 bytes; anywhere unless told otherwise |
//! | `once` | the first time only |
//! | `immediately` | taken, and without a meaning: all I/O here answers at once |
//!
//! The first rule that fits is the one. In QEMU the event switches a rule on, which then stays on for any
//! type of I/O until another event does the same; here the event is a condition like the others. QEMU's
//! states, alignments and configuration files are not here.

use std::io;
use std::sync::{Mutex, PoisonError};

/// A type of I/O.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoType {
    /// Reading.
    Read,
    /// Writing.
    Write,
    /// Waiting until what was written is stored.
    Flush,
}

/// Which I/O fails.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// This type; any unless told.
    pub io_type: Option<IoType>,
    /// With this error number.
    pub errno: i32,
    /// Where it touches this byte; anywhere unless told.
    pub byte: Option<u64>,
    /// The first time only.
    pub once: bool,
}

impl Rule {
    fn fits(&self, io_type: IoType, at: u64, bytes: u64) -> bool {
        let there = match (self.byte, io_type) {
            (None, _) => true,
            (Some(_), IoType::Flush) => false,
            (Some(byte), _) => byte >= at && byte - at < bytes,
        };
        there && self.io_type.is_none_or(|wanted| wanted == io_type)
    }
}

/// The rules that are left.
#[derive(Debug, Default)]
pub struct Injector {
    rules: Mutex<Vec<Rule>>,
}

impl Injector {
    /// One with these rules.
    pub fn new(rules: Vec<Rule>) -> Injector {
        Injector {
            rules: Mutex::new(rules),
        }
    }

    /// Whether I/O of `bytes` bytes at `at` goes through.
    ///
    /// # Errors
    /// A rule says that it does not.
    pub fn check(&self, io_type: IoType, at: u64, bytes: u64) -> io::Result<()> {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(place) = rules.iter().position(|rule| rule.fits(io_type, at, bytes)) else {
            return Ok(());
        };
        let errno = rules[place].errno;
        if rules[place].once {
            rules.remove(place);
        }
        Err(io::Error::from_raw_os_error(errno))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = Rule {
        io_type: None,
        errno: libc::EIO,
        byte: None,
        once: false,
    };

    fn errno(injector: &Injector, io_type: IoType, at: u64, bytes: u64) -> Option<i32> {
        let error = injector.check(io_type, at, bytes).err()?;
        error.raw_os_error()
    }

    #[test]
    fn a_rule_is_for_its_type_its_place_and_its_times() {
        let rules = vec![
            Rule {
                io_type: Some(IoType::Read),
                byte: Some(1024),
                once: true,
                ..RULE
            },
            Rule {
                io_type: Some(IoType::Write),
                errno: libc::ENOSPC,
                ..RULE
            },
        ];
        let injector = Injector::new(rules);
        assert_eq!(errno(&injector, IoType::Read, 0, 1024), None);
        assert_eq!(errno(&injector, IoType::Read, 1025, 1), None);
        assert_eq!(errno(&injector, IoType::Flush, 0, 0), None);
        assert_eq!(errno(&injector, IoType::Read, 1000, 25), Some(libc::EIO));
        assert_eq!(errno(&injector, IoType::Read, 1000, 25), None);
        for _ in 0..2 {
            assert_eq!(errno(&injector, IoType::Write, 0, 1), Some(libc::ENOSPC));
        }
        assert_eq!(
            errno(&Injector::new(vec![RULE]), IoType::Flush, 0, 0),
            Some(libc::EIO)
        );
    }
}
