//! The specification of the block-job lifecycle: what is allowed.
//!
//! Pure and sequential: no I/O, no threads, no dependencies.
//!
//! | module | what it says |
//! |---|---|
//! | [`status`] | the eleven statuses and their transition table |
//! | [`verb`] | what may be asked in which status, and how a refusal reads |
//! | [`vocabulary`] | callbacks, events, requests |
//! | [`error_policy`] | what becomes of an I/O error |
//! | [`profile`] | what differs between implementations |
//! | [`identity`] | what a job may be called |
//! | [`resource`] | what jobs hold, and who may hold the same |
//! | [`state`] | jobs, their transaction, calls under way |
//! | [`request`] | what a request does |
//! | [`step`] | everything that may happen next |
//! | [`lifecycle`] | the coarse machine users think in, and how the statuses refine it |
//! | [`property`] | what must hold |
//! | [`explore`] | searches every world for one where it does not |
//! | [`crowd`] | the same for any number of jobs: counts none, one or many of each kind |
//! | [`mod@rule`] | what is demanded of a recording, by name |
//! | [`render`] | the tables as text, Mermaid, DOT, JSON |
//! | [`vectors`] | what to send to an implementation, and what it may then show |
//! | [`accept`] | judges observed behaviour by all of the above |
//! | [`hash`] | fast hashing for the two searches |

pub mod accept;
pub mod crowd;
pub mod error_policy;
pub mod explore;
pub mod hash;
pub mod identity;
pub mod lifecycle;
pub mod profile;
pub mod property;
pub mod render;
pub mod request;
pub mod resource;
pub mod rule;
pub mod state;
pub mod status;
pub mod step;
pub mod vectors;
pub mod verb;
pub mod vocabulary;

pub use error_policy::{ErrorPolicy, IoStatus};
pub use lifecycle::Lifecycle;
pub use profile::Profile;
pub use status::Status;
pub use verb::{Refusal, Verb};
pub use vocabulary::{Callback, ErrorAction, Event, Reply, Request};
