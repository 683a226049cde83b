//! What the oracle says, for machines that run tests and for people who look at pictures.
//!
//! | module | writes |
//! |---|---|
//! | [`junit`] | `JUnit` XML, which test dashboards read |
//! | [`sarif`] | SARIF 2.1.0, which code scanning reads |
//! | [`coverage`] | coverage as a page |
//! | [`story`] | traces as a page: lanes, the way through the statuses |
//! | [`search`] | a search of the specification as a page |
//! | [`page`] | what every page shares: one file, no script, nothing fetched |
//!
//! Everything is handed over as text. What comes from a trace is escaped here and nowhere else.

pub mod coverage;
pub mod junit;
pub mod page;
pub mod sarif;
pub mod search;
pub mod story;
