//! What the types promise about threads, copies and sizes, asserted while they compile.
//!
//! | promise | why |
//! |---|---|
//! | shared: any thread may have it | handles, managers, gates: several controllers, many lanes |
//! | handed on: moves between threads, never in two places | created jobs, transactions, stage tokens |
//! | stays: on the thread that made it | the main loop, the run context |
//! | once: neither `Clone` nor `Copy` | what may be given up or used up one time only |
//! | small | handles are copied freely; a token without contents costs nothing |

use std::fmt::Debug;
use std::mem::{align_of, size_of};
use std::panic::UnwindSafe;

use static_assertions::{assert_impl_all, assert_not_impl_any, const_assert, const_assert_eq};

use super::context::{Flow, IoPermit, RunContext};
use super::control::ControlWord;
use super::drain::DrainedSection;
use super::error::EngineError;
use super::executor::Context;
use super::gate::{LaneGate, LanePermit};
use super::handle::JobHandle;
use super::io_error::{AfterError, IoSide, Retries};
use super::main_loop::MainLoop;
use super::manager::{JobOptions, Manager, ManagerConfig, PauseAllToken};
use super::monitor::{Job, Monitor, State};
use super::progress::Progress;
use super::query::{JobInfo, QueriedBlockJob, QueriedJob};
use super::resource::{Held, Released, Resource};
use super::stage::{
    Aborted, Cancelled, Cleaned, Committed, Created, Ended, Failed, Failing, Paused, Pending,
    Prepared, Ready, Running, Stage, Waiting,
};
use super::transaction::{CreatedJob, Transaction};
use crate::driver::{Driver, Errno, JobError};

// Shared.
assert_impl_all!(Manager: Send, Sync, Clone);
assert_impl_all!(ManagerConfig: Send, Sync, Clone);
assert_impl_all!(JobHandle: Send, Sync, Clone);
assert_impl_all!(LaneGate: Send, Sync, Clone);
assert_impl_all!(Context: Send, Sync, Clone);
assert_impl_all!(LanePermit<'static>: Send, Sync);
assert_impl_all!(Monitor: Send, Sync);
assert_impl_all!(Progress: Send, Sync);
assert_impl_all!(dyn Driver: Send, Sync);

// Handed on.
assert_impl_all!(JobOptions: Send);
assert_impl_all!(Resource: Send, Sync);
assert_impl_all!(CreatedJob: Send, Sync);
assert_impl_all!(Transaction: Send, Sync);
assert_impl_all!(PauseAllToken: Send, Sync);
assert_impl_all!(DrainedSection: Send, Sync);
assert_impl_all!(Stage: Send);
assert_impl_all!(Job: Send);
assert_impl_all!(State: Send);
assert_impl_all!(Held: Send);
assert_impl_all!(Released: Send);

// Stays.
assert_not_impl_any!(MainLoop: Send, Sync);
assert_not_impl_any!(RunContext<'static>: Send, Sync);
assert_not_impl_any!(RunContext<'static, Ready>: Send, Sync);

// Once.
assert_not_impl_any!(MainLoop: Clone, Copy);
assert_not_impl_any!(CreatedJob: Clone, Copy);
assert_not_impl_any!(Transaction: Clone, Copy);
assert_not_impl_any!(JobOptions: Clone, Copy);
assert_not_impl_any!(PauseAllToken: Clone, Copy);
assert_not_impl_any!(DrainedSection: Clone, Copy);
assert_not_impl_any!(Resource: Clone, Copy);
assert_not_impl_any!(Held: Clone, Copy);
assert_not_impl_any!(Released: Clone, Copy);
assert_not_impl_any!(RunContext<'static, Running>: Clone, Copy);
assert_not_impl_any!(RunContext<'static, Ready>: Clone, Copy);
assert_not_impl_any!(IoPermit<'static>: Clone, Copy);
assert_not_impl_any!(LanePermit<'static>: Clone, Copy);
assert_not_impl_any!(Created: Clone, Copy, Default);
assert_not_impl_any!(Running: Clone, Copy, Default);
assert_not_impl_any!(Ready: Clone, Copy, Default);
assert_not_impl_any!(Paused<Running>: Clone, Copy, Default);
assert_not_impl_any!(Paused<Ready>: Clone, Copy, Default);
assert_not_impl_any!(Ended: Clone, Copy, Default);
assert_not_impl_any!(Waiting: Clone, Copy, Default);
assert_not_impl_any!(Pending: Clone, Copy, Default);
assert_not_impl_any!(Prepared: Clone, Copy, Default);
assert_not_impl_any!(Failed: Clone, Copy, Default);
assert_not_impl_any!(Cancelled: Clone, Copy, Default);
assert_not_impl_any!(Failing: Clone, Copy, Default);
assert_not_impl_any!(Committed: Clone, Copy, Default);
assert_not_impl_any!(Aborted: Clone, Copy, Default);
assert_not_impl_any!(Cleaned: Clone, Copy, Default);
// A copy counts for itself: one is made in so many words, never by passing it on.
assert_not_impl_any!(Retries: Copy);

// Answers are plain values.
assert_impl_all!(Flow: Send, Sync, Copy, Debug);
assert_impl_all!(IoSide: Send, Sync, Copy, Debug);
assert_impl_all!(AfterError: Send, Sync, Clone, Debug);
assert_impl_all!(JobInfo: Send, Sync, Clone, Debug, PartialEq);
assert_impl_all!(QueriedJob: Send, Sync, Clone, Debug, PartialEq);
assert_impl_all!(QueriedBlockJob: Send, Sync, Clone, Debug, PartialEq);
assert_impl_all!(EngineError: Send, Sync, Clone, std::error::Error, UnwindSafe);
assert_impl_all!(JobError: Send, Sync, Clone, std::error::Error, UnwindSafe);

// Small.
const POINTER: usize = size_of::<usize>();
const_assert_eq!(size_of::<Manager>(), POINTER);
const_assert_eq!(size_of::<Context>(), POINTER);
const_assert_eq!(size_of::<JobHandle>(), 2 * POINTER);
const_assert_eq!(size_of::<LaneGate>(), 2 * POINTER);
const_assert_eq!(size_of::<LanePermit<'static>>(), POINTER);
const_assert_eq!(size_of::<RunContext<'static>>(), 2 * POINTER);
const_assert_eq!(size_of::<IoPermit<'static>>(), 0);
const_assert_eq!(size_of::<Created>(), 0);
const_assert_eq!(size_of::<Running>(), 0);
const_assert_eq!(size_of::<Ready>(), 0);
const_assert_eq!(size_of::<Paused<Running>>(), 0);
const_assert_eq!(size_of::<Waiting>(), 0);
const_assert_eq!(size_of::<Pending>(), 0);
const_assert_eq!(size_of::<Prepared>(), 0);
const_assert_eq!(size_of::<Committed>(), 0);
const_assert_eq!(size_of::<Option<Errno>>(), size_of::<i32>());
// The token of a job is an error or nothing, and a word that tells which.
const_assert!(size_of::<Stage>() <= size_of::<JobError>() + POINTER);
// The word that bodies read at every pause point shares its cache line, and the one fetched with it, with nobody.
const_assert!(align_of::<ControlWord>() >= 128);
