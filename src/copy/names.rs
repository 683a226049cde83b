//! The names of what a copy makes beside its target: each tells whose it is and is hidden in listings.
//!
//! | name | what |
//! |---|---|
//! | `.NAME.blockjob-RANDOM` | the new file, until it takes the name; then the old one, until all is done |
//! | the same with every digit's complement | the old file, where names cannot be exchanged |
//! | `.NAME.blockjob-journal` | the journal of a copy whose first target in this folder is `NAME`, or where that is |

use crate::io::folder::{NAME_BYTES_MAX, Name};
use std::ffi::{OsStr, OsString};
use std::hash::{BuildHasher as _, Hasher as _};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

/// What all of them have in common.
pub(super) const MARK: &[u8] = b".blockjob-";
const JOURNAL: &str = "journal";

/// `.NAME.blockjob-RANDOM`: hidden, beside its target in listings, and telling whose it is. A long name is cut.
pub(super) fn temporary_name(target: &Name) -> io::Result<Name> {
    // The standard library's hash keys are random for each state: enough to keep names apart, and `O_EXCL` decides.
    let random = std::collections::hash_map::RandomState::new()
        .build_hasher()
        .finish();
    let mut name = temporary_prefix(target);
    name.push(format!("{random:0RANDOM_DIGITS$x}"));
    Name::new(&name)
}

/// Hexadecimal digits at the end of a temporary name.
const RANDOM_DIGITS: usize = 16;

fn temporary_prefix(target: &Name) -> OsString {
    let tail = OsStr::from_bytes(MARK);
    let mut name = OsString::from(".");
    let stem = target.to_os_string().into_vec();
    let room = NAME_BYTES_MAX - RANDOM_DIGITS - tail.len() - 1;
    name.push(OsStr::from_bytes(&stem[..stem.len().min(room)]));
    name.push(tail);
    name
}

/// Whether a copy to `target` may have given its temporary file this name.
pub(super) fn is_temporary_of(name: &OsStr, target: &Name) -> bool {
    let digits = name
        .as_bytes()
        .strip_prefix(temporary_prefix(target).as_bytes());
    digits.is_some_and(|digits| {
        digits.len() == RANDOM_DIGITS
            && digits
                .iter()
                .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// A further name that belongs to a temporary one: where names cannot be exchanged, the old file is kept under it, and
/// whoever finds the one knows the other.
pub(super) fn twin(temporary: &Name) -> io::Result<Name> {
    let mut name = temporary.to_os_string().into_vec();
    let digits = name.len().saturating_sub(RANDOM_DIGITS);
    for digit in &mut name[digits..] {
        let value = char::from(*digit).to_digit(16).unwrap_or(0) as usize;
        *digit = b"0123456789abcdef"[15 - value];
    }
    Name::new(OsStr::from_bytes(&name))
}

/// The name of the journal beside `target`.
pub(super) fn journal_name(target: &Name) -> io::Result<Name> {
    let mut name = temporary_prefix(target);
    name.push(JOURNAL);
    Name::new(&name)
}

/// Whether a journal may have this name.
pub(super) fn is_journal(name: &OsStr) -> bool {
    let stem = name.as_bytes().strip_suffix(JOURNAL.as_bytes());
    stem.is_some_and(|stem| stem.starts_with(b".") && stem.ends_with(MARK))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_is_told_from_the_others() {
        for target in ["disk.img".to_owned(), "x".repeat(NAME_BYTES_MAX)] {
            let target = Name::new(OsStr::new(&target)).unwrap();
            let temporary = temporary_name(&target).unwrap();
            let other = twin(&temporary).unwrap();
            assert_ne!(temporary, other);
            assert_eq!(twin(&other).unwrap(), temporary);
            let journal = journal_name(&target).unwrap();
            for name in [&temporary, &other] {
                assert!(is_temporary_of(&name.to_os_string(), &target));
                assert!(!is_journal(&name.to_os_string()));
            }
            assert!(is_journal(&journal.to_os_string()));
            assert!(!is_temporary_of(&journal.to_os_string(), &target));
        }
        assert!(!is_journal(OsStr::new("journal")));
        assert!(!is_journal(OsStr::new("a.blockjob-journal")));
    }
}
