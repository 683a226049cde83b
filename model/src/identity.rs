//! What a job may be called.
//!
//! Source: SEMANTICS.md §2.1. Who needs an id, and in which order a new one is checked, is the
//! engine's `identity`; which texts may be ids at all is said here, for the engine and the oracle.

/// Whether `id` may name a job: an ASCII letter, then letters, digits, `-`, `.`, `_`.
pub fn is_well_formed(id: &str) -> bool {
    let mut bytes = id.bytes();
    bytes
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_follow_the_grammar() {
        for id in ["a", "j0", "Job-1.2_3"] {
            assert!(is_well_formed(id), "{id}");
        }
        for id in [
            "", " ", "0id", "123", "_id", "-id", ".id", "#id", "a b", "ä", "a/b",
        ] {
            assert!(!is_well_formed(id), "{id}");
        }
    }
}
