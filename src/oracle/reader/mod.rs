//! Reading traces: lines, the formats they may have, and which one a file has.
//!
//! | module | what it reads |
//! |---|---|
//! | [`lines`] | any of them, as numbered lines |
//! | [`packed`] | compressed ones, unpacked |
//! | [`detect`] | the first line, to tell the formats apart |
//! | [`qmp`] | recorded QMP conversations |
//! | [`raw`] | bare QMP objects, from sockets and test logs |
//! | [`python`] | what test logs print in place of JSON |
//! | [`qemu_log`] | QEMU's trace log |
//! | [`libvirt`] | libvirt's debug log |
//! | [`native`] | the engine's own trace |
//! | [`json`] | pieces of JSON whose type has still to be judged |
//! | `scan` | the same, the fast way |
//!
//! A reader says what a line *is*; whether it may be there is for the judge.

pub mod detect;
pub mod json;
pub mod libvirt;
pub mod lines;
pub mod native;
pub mod packed;
pub mod python;
pub mod qemu_log;
pub mod qmp;
pub mod raw;
pub(in crate::oracle) mod scan;
