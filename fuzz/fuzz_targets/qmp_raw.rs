//! Any bytes, read as bare QMP objects: judged or refused, never a crash.
#![no_main]

use blockjob::oracle::{Format, Options, check_reader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let options = Options {
        format: Some(Format::QmpRaw),
        ..Options::default()
    };
    // What is told of it is part of the reader's work.
    let verdict = check_reader("fuzz", bytes, &options);
    let _ = (verdict.to_string(), verdict.to_json());
});
