//! blockjob.
