//! blockjob.
pub mod io;
