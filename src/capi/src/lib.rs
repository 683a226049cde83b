//! The oracle behind a C interface: `libblockjob_oracle`, static and dynamic.
//!
//! A crate of its own, because a boundary to C needs unsafe code and the rest of the project has none outside
//! `src/io`: what is unsafe about it is here, on one page, and nothing else is. It adds nothing to
//! [`blockjob::oracle::feed`], which it wraps.
//!
//! The header `include/blockjob_oracle.h` is made of this file by cbindgen; a test says when it is not current
//! (`BLOCKJOB_HEADER=write cargo test -p blockjob-oracle` makes it anew). A panic does not cross the boundary: it
//! becomes [`BlockjobVerdict::Broken`].

use std::ffi::{CStr, CString, c_char};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use blockjob::model::Profile;
use blockjob::oracle::feed::Feed;
use blockjob::oracle::{Options, Verdict};

/// What the oracle says of a trace.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockjobVerdict {
    /// Nothing yet: what was fed is allowed so far.
    Open = 0,
    /// The trace is complete, and the specification allows all of it.
    Accept = 1,
    /// The specification does not allow it. More lines change nothing.
    Reject = 2,
    /// It is no trace, or there is nothing to judge in it. More lines change nothing.
    Error = 3,
    /// NULL was given where there must be something.
    Misuse = 4,
    /// A mistake of the library; free the oracle.
    Broken = 5,
}

/// Judges one trace. Made by `blockjob_oracle_new`, ended by `blockjob_oracle_free`.
///
/// Different oracles may be used by different threads at the same time, and an oracle may be handed from one thread
/// to another; one oracle must not be used by two threads at the same time. Each has a thread of its own, which
/// sleeps between calls.
pub struct BlockjobOracle {
    feed: Feed,
    /// What is lent to the caller, made when the verdict is known.
    texts: Option<Texts>,
    broken: bool,
}

struct Texts {
    explanation: CString,
    json: CString,
}

impl BlockjobOracle {
    /// Where it stands; the texts are made as soon as there is a verdict.
    fn standing(&mut self) -> BlockjobVerdict {
        if self.broken {
            return BlockjobVerdict::Broken;
        }
        let Some(verdict) = self.feed.verdict() else {
            return BlockjobVerdict::Open;
        };
        if self.texts.is_none() {
            self.texts = Some(Texts {
                explanation: text(&verdict.to_string()),
                json: text(&verdict.to_json()),
            });
        }
        match verdict.word() {
            "accept" => BlockjobVerdict::Accept,
            "reject" => BlockjobVerdict::Reject,
            _ => BlockjobVerdict::Error,
        }
    }
}

/// Text for C. A NUL inside it, which a job's id may hold, is shown as the replacement character.
fn text(text: &str) -> CString {
    CString::new(text.replace('\0', "\u{fffd}")).unwrap_or_default()
}

/// Calls `action`; a panic, which would be a mistake of ours, becomes `otherwise`.
fn guarded<T>(otherwise: T, action: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(action)).unwrap_or(otherwise)
}

/// An oracle for one trace, judged by the profile of this name: `reference`, `qemu-10.0` … (`blockjob spec --profile`
/// lists them). NULL or "auto": the one that the trace names, else any that fits.
///
/// NULL: there is no such profile, or the system gives it no thread. Any thread.
///
/// # Safety
///
/// `profile` is NULL, or text that ends with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn blockjob_oracle_new(profile: *const c_char) -> *mut BlockjobOracle {
    let name = if profile.is_null() {
        c"auto"
    } else {
        // SAFETY: the caller says that it ends with NUL; it is not kept beyond this call.
        unsafe { CStr::from_ptr(profile) }
    };
    guarded(ptr::null_mut(), || {
        let profile = match name.to_str() {
            Ok("auto") => None,
            // Text that is no UTF-8 names no profile.
            Ok(name) => match Profile::by_name(name) {
                Some(profile) => Some(profile),
                None => return ptr::null_mut(),
            },
            Err(_) => return ptr::null_mut(),
        };
        let options = Options {
            profile,
            ..Options::default()
        };
        let Ok(feed) = Feed::new("trace", &options) else {
            return ptr::null_mut();
        };
        Box::into_raw(Box::new(BlockjobOracle {
            feed,
            texts: None,
            broken: false,
        }))
    })
}

/// Hands over the next line: `length` bytes, with or without a line feed at their end. Any bytes: NUL and what is no
/// UTF-8 are judged as in a file. Returns when the line is judged: `Open` if it is allowed (a format whose messages go
/// over several lines is judged when the message is complete), else the verdict.
///
/// # Safety
///
/// `oracle` is NULL, or came from `blockjob_oracle_new`, was not freed, and is used by no other thread meanwhile. `line`
/// is NULL, or `length` bytes can be read there.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn blockjob_oracle_feed(
    oracle: *mut BlockjobOracle,
    line: *const c_char,
    length: usize,
) -> BlockjobVerdict {
    // SAFETY: the caller says that it is NULL, or an oracle that nobody else uses.
    let Some(oracle) = (unsafe { oracle.as_mut() }) else {
        return BlockjobVerdict::Misuse;
    };
    let line: &[u8] = if length == 0 {
        &[]
    } else if line.is_null() || length > isize::MAX as usize {
        return BlockjobVerdict::Misuse;
    } else {
        // SAFETY: the caller says that so many bytes can be read there; they are not kept beyond this call.
        unsafe { std::slice::from_raw_parts(line.cast(), length) }
    };
    let fed = guarded(None, || {
        oracle.feed.feed_line(line);
        Some(oracle.standing())
    });
    fed.unwrap_or_else(|| {
        oracle.broken = true;
        BlockjobVerdict::Broken
    })
}

/// The trace is complete: the verdict. It may be asked for again.
///
/// # Safety
///
/// As for `blockjob_oracle_feed`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn blockjob_oracle_finish(oracle: *mut BlockjobOracle) -> BlockjobVerdict {
    // SAFETY: the caller says that it is NULL, or an oracle that nobody else uses.
    let Some(oracle) = (unsafe { oracle.as_mut() }) else {
        return BlockjobVerdict::Misuse;
    };
    let finished = guarded(None, || {
        oracle.feed.finish()?;
        Some(oracle.standing())
    });
    finished.unwrap_or_else(|| {
        oracle.broken = true;
        BlockjobVerdict::Broken
    })
}

/// The verdict in words, as `blockjob check` prints it: the line, the rule, because of what, what would have been allowed.
/// UTF-8, ends with NUL. It belongs to the oracle and lasts until that is freed. NULL while there is no verdict.
///
/// # Safety
///
/// As for `blockjob_oracle_feed`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn blockjob_oracle_explanation(
    oracle: *const BlockjobOracle,
) -> *const c_char {
    // SAFETY: the caller says that it is NULL, or an oracle that nobody else uses.
    let oracle = unsafe { oracle.as_ref() };
    oracle
        .and_then(|oracle| oracle.texts.as_ref())
        .map_or(ptr::null(), |texts| texts.explanation.as_ptr())
}

/// The same as one JSON object, as `blockjob check --json` prints it (`blockjob schema check`).
///
/// # Safety
///
/// As for `blockjob_oracle_feed`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn blockjob_oracle_json(oracle: *const BlockjobOracle) -> *const c_char {
    // SAFETY: the caller says that it is NULL, or an oracle that nobody else uses.
    let oracle = unsafe { oracle.as_ref() };
    oracle
        .and_then(|oracle| oracle.texts.as_ref())
        .map_or(ptr::null(), |texts| texts.json.as_ptr())
}

/// The line of the fault of a rejected trace, from 1; 0 where there is none.
///
/// # Safety
///
/// As for `blockjob_oracle_feed`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn blockjob_oracle_line(oracle: *const BlockjobOracle) -> u64 {
    // SAFETY: the caller says that it is NULL, or an oracle that nobody else uses.
    let oracle = unsafe { oracle.as_ref() };
    oracle
        .and_then(|oracle| oracle.feed.verdict())
        .and_then(Verdict::fault)
        .map_or(0, |fault| fault.line)
}

/// Ends the oracle, and what it has lent. NULL is nothing to end.
///
/// # Safety
///
/// As for `blockjob_oracle_feed`; it is not used again.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn blockjob_oracle_free(oracle: *mut BlockjobOracle) {
    if !oracle.is_null() {
        // SAFETY: it came from `Box::into_raw` in `blockjob_oracle_new`, and the caller gives it up.
        let oracle = unsafe { Box::from_raw(oracle) };
        guarded((), || drop(oracle));
    }
}
