//! One pass over a source by all workers of a job: who takes which piece, when they wait, and how they end.
//!
//! The body is one of the workers, and the only one that stops at pause points, sleeps and is cancelled; the others
//! are its lanes: each piece of theirs is counted in by the engine's gate before it begins, so that a paused job has
//! none in flight (P18). All take the next piece from one place, in the source's order.
//!
//! An error of one of the two files goes to the body, whoever met it: only the body may ask the engine what the user
//! wants done about it, stop, and try again. The lanes go on meanwhile, and the body does not end before they have.
//!
//! A speed limit is one for all of them: each charges what it moved, and once that is more than the limit allows, all
//! wait for the body, whose sleep is the one that pause, cancel and a new limit can end. What is in flight then is
//! charged too, when it is done: a piece for each worker, of a tenth of a second's worth at most.

use super::piece::{Piece, Pieces};
use super::zero::BLOCK_BYTES;
use crate::driver::{Flow, JobError, RunContext};
use crate::engine::{IoSide, LaneGate, Progress, Retries};
use crate::io::buffer::BufferPool;
use crate::io::extent::Extent;
use crate::model::{ErrorAction, ErrorPolicy};
use crate::trace::{Io, TraceEntry, TraceSink, TraceStep};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The buffers of all workers of all jobs. Kept are those of a few jobs that end while others begin.
static BUFFERS: BufferPool = BufferPool::new(8 << 20);

/// What a pass does with its pieces. Called by all workers at once.
pub(super) trait Task: Sync {
    /// The next piece, of at most so many bytes where its length matters; `None` when all were handed out.
    fn next(&self, bytes_max: u64) -> Result<Option<Piece>, JobError>;

    /// Does one piece, with a buffer that has room for it. The bytes that were really moved, for the speed limit.
    fn step(&self, piece: Piece, buffer: &mut [u8]) -> Result<u64, Trouble>;

    /// What is to become of an error on this side.
    fn policy(&self, side: IoSide) -> ErrorPolicy;

    /// Does a piece of one block whose source cannot be read, as far as it can be read. The bytes moved.
    ///
    /// Where nothing is ever ignored, the piece is merely tried once more.
    fn salvage(&self, piece: Piece, buffer: &mut [u8]) -> Result<u64, Trouble> {
        self.step(piece, buffer)
    }

    /// A buffer of so many bytes cannot be had.
    fn no_buffer(&self, bytes: usize, cause: &std::io::Error) -> JobError;
}

/// What went wrong with a piece.
#[derive(Debug)]
pub(super) struct Trouble {
    /// The side whose file failed, where the user may want more than to be told.
    pub side: Option<IoSide>,
    pub error: JobError,
}

impl Trouble {
    pub fn on(side: IoSide, error: JobError) -> Self {
        Self {
            side: Some(side),
            error,
        }
    }
}

impl From<JobError> for Trouble {
    fn from(error: JobError) -> Self {
        Self { side: None, error }
    }
}

/// Where the begin and the end of each piece are recorded.
pub(super) struct IoTrace {
    pub sink: Arc<dyn TraceSink>,
    pub job: String,
    pub group: Option<String>,
}

impl IoTrace {
    /// Records a piece's begin, or its end with whether it succeeded.
    fn record(&self, op: &'static str, piece: Piece, end: Option<bool>) {
        let io = Io {
            op,
            offset: piece.at,
            bytes: piece.bytes,
        };
        let step = match end {
            None => TraceStep::IoBegin(io),
            Some(ok) => TraceStep::IoEnd { io, ok },
        };
        self.sink.record(&TraceEntry {
            job: Some(&self.job),
            group: self.group.as_deref(),
            step,
        });
    }
}

/// How a pass is worked on.
pub(super) struct Pass<'run> {
    /// What it is called in a trace.
    pub op: &'static str,
    /// The body and its lanes.
    pub workers: usize,
    /// Bytes of a worker's buffer, and of the largest piece of data.
    pub buffer_bytes: usize,
    pub io_trace: Option<&'run IoTrace>,
}

impl Pass<'_> {
    /// Works until there is nothing left, or a failure, or a cancel.
    pub fn run<S>(&self, task: &dyn Task, context: &mut RunContext<'_, S>) -> Result<(), JobError> {
        let work = Work {
            pass: self,
            task,
            progress: context.progress(),
            stop: AtomicBool::new(false),
            held: AtomicBool::new(false),
            first_failure: Mutex::new(None),
            changed: Condvar::new(),
            troubled: Mutex::default(),
            is_troubled: AtomicBool::new(false),
            lanes: AtomicUsize::new(0),
        };
        let flow = if self.workers > 1 {
            let gate = context.gate();
            std::thread::scope(|scope| {
                // However the body ends, by a panic too, the lanes are told: else the scope would wait for ever.
                let _stop = StopOnDrop(&work);
                for number in 1..self.workers {
                    let (work, gate) = (&work, gate.clone());
                    let name = format!("{}-lane{number}", context.id());
                    work.lanes.fetch_add(1, Ordering::AcqRel);
                    let lane =
                        std::thread::Builder::new()
                            .name(name)
                            .spawn_scoped(scope, move || {
                                let _ended = LaneEnds(work, &gate);
                                work.lane(&gate);
                            });
                    // A lane the system has no room for is done without.
                    if lane.is_err() {
                        work.lanes.fetch_sub(1, Ordering::AcqRel);
                    }
                }
                work.body(context)
            })
        } else {
            work.body(context)
        };
        if flow == Flow::Cancelled {
            return Err(JobError::canceled());
        }
        if let Some(error) = lock(&work.first_failure).take() {
            return Err(error);
        }
        // Nobody is left who could: the body has seen to all.
        match lock(&work.troubled).pop() {
            Some((_, trouble)) => Err(trouble.error),
            None => Ok(()),
        }
    }
}

/// What the workers of a pass share.
struct Work<'pass> {
    pass: &'pass Pass<'pass>,
    task: &'pass dyn Task,
    progress: &'pass Progress,
    /// Set once there is nothing left to do for the lanes: done, failed or cancelled.
    stop: AtomicBool,
    /// The speed limit is to be waited for: lanes begin nothing until the body has.
    held: AtomicBool,
    /// With [`changed`](Self::changed), guards changes of the two flags and keeps the first failure.
    first_failure: Mutex<Option<JobError>>,
    changed: Condvar,
    /// Pieces that the body has to see to.
    troubled: Mutex<Vec<(Piece, Trouble)>>,
    /// Whether there are any.
    is_troubled: AtomicBool,
    /// Lanes that have not ended.
    lanes: AtomicUsize,
}

impl Work<'_> {
    /// The body's part: pieces between pause points, until there is nothing left, or a failure, or a cancel.
    fn body<S>(&self, context: &mut RunContext<'_, S>) -> Flow {
        let mut buffer = match BUFFERS.take(self.pass.buffer_bytes) {
            Ok(buffer) => buffer,
            Err(cause) => {
                self.fail(self.task.no_buffer(self.pass.buffer_bytes, &cause));
                return Flow::Continue;
            }
        };
        loop {
            make_way();
            if context.pause_point() == Flow::Cancelled {
                return Flow::Cancelled;
            }
            if self.is_troubled.load(Ordering::Acquire)
                && self.see_to_troubles(context, &mut buffer) == Flow::Cancelled
            {
                return Flow::Cancelled;
            }
            // A lane has moved more than the limit allows.
            if self.held.load(Ordering::Acquire) && self.pay(0, context) == Flow::Cancelled {
                return Flow::Cancelled;
            }
            let done = {
                let _permit = context.io();
                self.step(&mut buffer, context.speed_bytes_per_s())
            };
            let Some(bytes) = done else {
                // In this order: a lane says what troubles it before it ends.
                let running = self.lanes.load(Ordering::Acquire) > 0;
                let troubled = self.is_troubled.load(Ordering::Acquire);
                if (running || troubled) && !self.stop.load(Ordering::Acquire) {
                    // One of them may still come to grief, or to the limit, and then it needs somebody to see to it.
                    let held = self.held.load(Ordering::Acquire);
                    if !troubled && !held && context.wait() == Flow::Cancelled {
                        return Flow::Cancelled;
                    }
                    continue;
                }
                // The lanes' last pieces are waited for as well.
                return if self.stop.load(Ordering::Acquire) {
                    Flow::Continue
                } else {
                    self.pay(0, context)
                };
            };
            // The limit counts what was really moved.
            if self.pay(bytes, context) == Flow::Cancelled {
                return Flow::Cancelled;
            }
        }
    }

    /// Does what the user wants done about each piece that failed.
    fn see_to_troubles<S>(&self, context: &mut RunContext<'_, S>, buffer: &mut [u8]) -> Flow {
        let mut resumed = false;
        loop {
            let next = {
                let mut troubled = lock(&self.troubled);
                let next = troubled.pop();
                self.is_troubled
                    .store(!troubled.is_empty(), Ordering::Release);
                next
            };
            let Some((piece, trouble)) = next else {
                return Flow::Continue;
            };
            if self.stop.load(Ordering::Acquire) {
                return Flow::Continue;
            }
            let trouble = if resumed {
                // Of the same cause perhaps, which the user has seen to: nobody is to resume twice for it.
                match self.perform_alone(piece, context, buffer) {
                    Ok(moved) if self.pay(moved, context) == Flow::Cancelled => {
                        return Flow::Cancelled;
                    }
                    Ok(_) => continue,
                    Err(again) => again,
                }
            } else {
                trouble
            };
            if self.see_to(piece, trouble, context, buffer, &mut resumed) == Flow::Cancelled {
                return Flow::Cancelled;
            }
        }
    }

    /// Does a piece of another worker's, as the body.
    fn perform_alone<S>(
        &self,
        piece: Piece,
        context: &RunContext<'_, S>,
        buffer: &mut [u8],
    ) -> Result<u64, Trouble> {
        let _permit = context.io();
        self.perform(piece, buffer)
    }

    /// Sets `resumed` where the user has.
    fn see_to<S>(
        &self,
        piece: Piece,
        mut trouble: Trouble,
        context: &mut RunContext<'_, S>,
        buffer: &mut [u8],
        resumed: &mut bool,
    ) -> Flow {
        let mut retries = Retries::default();
        loop {
            let Some(side) = trouble.side else {
                self.fail(trouble.error);
                return Flow::Continue;
            };
            let policy = self.task.policy(side);
            let errno = trouble.error.errno;
            let mut delay = Duration::ZERO;
            if policy == ErrorPolicy::Ignore && side == IoSide::Write {
                // There is nothing else to put there: it is tried again, for a while.
                let Some(wait) = retries.spend() else {
                    let _ = context.error_action(ErrorPolicy::Report, side, errno);
                    self.fail(trouble.error);
                    return Flow::Continue;
                };
                delay = wait;
            }
            match context.error_action(policy, side, errno) {
                ErrorAction::Report => {
                    self.fail(trouble.error);
                    return Flow::Continue;
                }
                ErrorAction::Ignore if side == IoSide::Read => {
                    return self.salvage(piece, context, buffer, resumed);
                }
                ErrorAction::Ignore => {}
                ErrorAction::Stop => *resumed = true,
            }
            // Parks here, if the user is to see to it first.
            if rest(delay, context) == Flow::Cancelled {
                return Flow::Cancelled;
            }
            match self.perform_alone(piece, context, buffer) {
                Ok(moved) => return self.pay(moved, context),
                Err(again) => trouble = again,
            }
        }
    }

    /// Does a piece block by block, with zeros for what cannot be read.
    fn salvage<S>(
        &self,
        piece: Piece,
        context: &mut RunContext<'_, S>,
        buffer: &mut [u8],
        resumed: &mut bool,
    ) -> Flow {
        let mut at = piece.at;
        while at < piece.end() {
            if context.pause_point() == Flow::Cancelled {
                return Flow::Cancelled;
            }
            let block = Piece {
                at,
                bytes: (piece.end() - at).min(BLOCK_BYTES as u64),
                ..piece
            };
            let answer = {
                let _permit = context.io();
                self.record(block, None);
                let answer = self.task.salvage(block, buffer);
                self.record(block, Some(answer.is_ok()));
                answer
            };
            match answer {
                Ok(moved) => {
                    self.progress.advance(block.bytes);
                    at += block.bytes;
                    if self.pay(moved, context) == Flow::Cancelled {
                        return Flow::Cancelled;
                    }
                }
                // The target, this time.
                Err(trouble) => {
                    if self.see_to(block, trouble, context, buffer, resumed) == Flow::Cancelled {
                        return Flow::Cancelled;
                    }
                    if self.stop.load(Ordering::Acquire) {
                        return Flow::Continue;
                    }
                    at += block.bytes;
                }
            }
        }
        Flow::Continue
    }

    /// Waits as long as the limit says for so many bytes. A sleep that something cut short is looked at again: a
    /// charge of nothing says what is left of it, under the limit of that moment.
    fn pay<S>(&self, bytes: u64, context: &mut RunContext<'_, S>) -> Flow {
        let mut delay = context.charge(bytes);
        loop {
            if delay.is_zero() {
                if !self.held.load(Ordering::Acquire) {
                    return Flow::Continue;
                }
                // In this order: a lane that charges after this look finds nobody held, and says so again.
                self.set_held(false);
                delay = context.charge(0);
                if delay.is_zero() {
                    return Flow::Continue;
                }
            }
            self.set_held(true);
            if context.sleep(delay) == Flow::Cancelled {
                return Flow::Cancelled;
            }
            delay = context.charge(0);
        }
    }

    /// A lane's part: pieces with a permit each, until there is nothing left, or a failure, or a cancel.
    fn lane(&self, gate: &LaneGate) {
        // A lane there is no memory for is done without.
        let Ok(mut buffer) = BUFFERS.take(self.pass.buffer_bytes) else {
            return;
        };
        while self.wait_while_held() {
            make_way();
            let Some(permit) = gate.enter() else { return };
            let done = self.step(&mut buffer, gate.speed_bytes_per_s());
            drop(permit);
            let Some(moved) = done else { return };
            if !gate.charge(moved).is_zero() {
                self.set_held(true);
                gate.wake_body();
            }
            if self.is_troubled.load(Ordering::Acquire) {
                // The body may be waiting for the lanes to end.
                gate.wake_body();
            }
        }
    }

    /// Waits while the body waits for the speed limit, or is about to. Whether to go on.
    fn wait_while_held(&self) -> bool {
        if self.held.load(Ordering::Acquire) {
            let mut guard = lock(&self.first_failure);
            while self.held.load(Ordering::Acquire) && !self.stop.load(Ordering::Acquire) {
                guard = self
                    .changed
                    .wait(guard)
                    .unwrap_or_else(PoisonError::into_inner);
            }
        }
        !self.stop.load(Ordering::Acquire)
    }

    fn set_held(&self, held: bool) {
        if self.held.load(Ordering::Relaxed) != held {
            let _guard = lock(&self.first_failure);
            self.held.store(held, Ordering::Release);
            self.changed.notify_all();
        }
    }

    fn stop(&self) {
        let _guard = lock(&self.first_failure);
        self.stop.store(true, Ordering::Release);
        self.changed.notify_all();
    }

    fn fail(&self, error: JobError) {
        lock(&self.first_failure).get_or_insert(error);
        self.stop();
    }

    /// Takes the next piece and does it. The bytes moved; `None` when there is nothing more to do, for whatever
    /// reason.
    fn step(&self, buffer: &mut [u8], speed_bytes_per_s: u64) -> Option<u64> {
        if self.stop.load(Ordering::Acquire) {
            return None;
        }
        let bytes_max = piece_bytes(buffer.len() as u64, speed_bytes_per_s);
        let piece = match self.task.next(bytes_max) {
            Ok(piece) => piece?,
            Err(error) => {
                self.fail(error);
                return None;
            }
        };
        match self.perform(piece, buffer) {
            Ok(moved) => Some(moved),
            Err(trouble) if trouble.side.is_some() => {
                lock(&self.troubled).push((piece, trouble));
                self.is_troubled.store(true, Ordering::Release);
                // Nothing was moved.
                Some(0)
            }
            Err(trouble) => {
                self.fail(trouble.error);
                None
            }
        }
    }

    /// Does a piece, and says so.
    fn perform(&self, piece: Piece, buffer: &mut [u8]) -> Result<u64, Trouble> {
        self.record(piece, None);
        let answer = self.task.step(piece, buffer);
        self.record(piece, Some(answer.is_ok()));
        if answer.is_ok() {
            self.progress.advance(piece.bytes);
        }
        answer
    }

    fn record(&self, piece: Piece, end: Option<bool>) {
        if let Some(trace) = self.pass.io_trace {
            trace.record(self.pass.op, piece, end);
        }
    }
}

/// Between two pieces: lets whoever waits for this processor have it.
///
/// The workers keep every processor busy, and who asks for a pause or a cancel, and the main loop that carries it out, need one
/// as well. A kernel that does not preempt gives it to them at its next tick, up to 4 ms later each; so it does here,
/// a piece later.
fn make_way() {
    std::thread::yield_now();
}

/// A lane is through: the body may wait for that.
struct LaneEnds<'work, 'pass>(&'work Work<'pass>, &'work LaneGate);

impl Drop for LaneEnds<'_, '_> {
    fn drop(&mut self) {
        self.0.lanes.fetch_sub(1, Ordering::AcqRel);
        self.1.wake_body();
    }
}

/// A pause point, and then all of this time: what ends a sleep early, such as a lane that has something to say, is no
/// reason to try again sooner.
fn rest<S>(delay: Duration, context: &mut RunContext<'_, S>) -> Flow {
    let until = context.now().saturating_add(delay);
    loop {
        let left = until.saturating_sub(context.now());
        if context.sleep(left) == Flow::Cancelled {
            return Flow::Cancelled;
        }
        if context.now() >= until {
            return Flow::Continue;
        }
    }
}

/// Bytes of a piece: the chunk, or less under a limit so that the speed is even: a tenth of a second's worth, whole
/// blocks.
fn piece_bytes(chunk_bytes: u64, speed_bytes_per_s: u64) -> u64 {
    if speed_bytes_per_s == 0 {
        return chunk_bytes;
    }
    let block = BLOCK_BYTES as u64;
    (speed_bytes_per_s / 10 / block * block).clamp(block.min(chunk_bytes), chunk_bytes)
}

/// Ends the lanes when the body is through.
struct StopOnDrop<'work, 'pass>(&'work Work<'pass>);

impl Drop for StopOnDrop<'_, '_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A worker that panicked ends the run with an error; what it guarded is still whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The pieces of a source, handed out to whoever asks.
#[derive(Debug)]
pub(super) struct Queue(Mutex<Pieces>);

impl Queue {
    pub fn new(pieces: Pieces) -> Self {
        Self(Mutex::new(pieces))
    }

    pub fn next(
        &self,
        source: impl std::os::fd::AsFd,
        data_max: u64,
        hole_max: u64,
    ) -> std::io::Result<Option<Piece>> {
        lock(&self.0).next(source, data_max, hole_max)
    }

    /// As [`next`](Self::next), with the extent that the piece is of.
    pub fn next_of_run(
        &self,
        source: impl std::os::fd::AsFd,
        data_max: u64,
        hole_max: u64,
    ) -> std::io::Result<Option<(Piece, Option<Extent>)>> {
        let mut pieces = lock(&self.0);
        let piece = pieces.next(source, data_max, hole_max)?;
        Ok(piece.map(|piece| (piece, pieces.run())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copy::piece::PieceKind;
    use crate::driver::{Driver, Errno};
    use crate::engine::{JobHandle, JobOptions, Manager, ManagerConfig};
    use crate::model::Status;
    use std::sync::{Barrier, OnceLock};

    /// Two pieces, of which neither can be written until somebody has made room.
    struct NoRoom {
        handed_out: AtomicUsize,
        /// No worker is through with its piece before the other has its own.
        both: Barrier,
        is_full: AtomicBool,
        /// How often it was asked what the user wants done.
        asked: AtomicUsize,
    }

    impl Task for NoRoom {
        fn next(&self, bytes_max: u64) -> Result<Option<Piece>, JobError> {
            let number = self.handed_out.fetch_add(1, Ordering::SeqCst) as u64;
            Ok((number < 2).then_some(Piece {
                kind: PieceKind::Data,
                at: number * bytes_max,
                bytes: bytes_max,
            }))
        }

        fn step(&self, piece: Piece, _: &mut [u8]) -> Result<u64, Trouble> {
            if !self.is_full.load(Ordering::SeqCst) {
                return Ok(piece.bytes);
            }
            self.both.wait();
            let error = JobError::with_message(Errno::NO_SPACE, "there is no room");
            Err(Trouble::on(IoSide::Write, error))
        }

        fn policy(&self, _: IoSide) -> ErrorPolicy {
            self.asked.fetch_add(1, Ordering::SeqCst);
            ErrorPolicy::Stop
        }

        fn no_buffer(&self, _: usize, cause: &std::io::Error) -> JobError {
            JobError::with_message(Errno::IO, cause.to_string())
        }
    }

    struct Works(Arc<NoRoom>);

    impl Driver for Works {
        fn job_type(&self) -> &'static str {
            "works"
        }

        fn run(&self, mut context: RunContext<'_>) -> Result<(), JobError> {
            let pass = Pass {
                op: "copy",
                workers: 2,
                buffer_bytes: BLOCK_BYTES,
                io_trace: None,
            };
            pass.run(&*self.0, &mut context)
        }
    }

    #[test]
    fn two_workers_stopped_by_one_cause_need_one_resume() {
        let disk = Arc::new(NoRoom {
            handed_out: AtomicUsize::new(0),
            both: Barrier::new(2),
            is_full: AtomicBool::new(true),
            asked: AtomicUsize::new(0),
        });
        let (manager, mut main_loop) = Manager::new(ManagerConfig::default());
        let created = manager.create(JobOptions::new("j0"), Works(Arc::clone(&disk)));
        let job = created.unwrap().start();
        let is_stopped = || job.info().user_paused && job.status() == Status::Paused;
        let is_over = || job.outcome().is_some();
        main_loop.run_until(|| is_stopped() || is_over());
        // Where it is paused no lane is at work any more: both have said what troubles them.
        disk.is_full.store(false, Ordering::SeqCst);
        while !is_over() {
            job.resume().unwrap();
            main_loop.run_until(|| is_stopped() || is_over());
        }
        assert_eq!(job.outcome(), Some(Ok(())));
        assert_eq!(disk.asked.load(Ordering::SeqCst), 1);
    }

    /// A piece that cannot be written; whoever tries enters the job as a lane would.
    #[derive(Default)]
    struct Nagged {
        handed_out: AtomicUsize,
        tried: AtomicUsize,
        job: OnceLock<JobHandle>,
        /// What the run took, in the manager's time.
        took: OnceLock<Duration>,
    }

    impl Task for Nagged {
        fn next(&self, bytes: u64) -> Result<Option<Piece>, JobError> {
            let first = self.handed_out.fetch_add(1, Ordering::SeqCst) == 0;
            let kind = PieceKind::Data;
            Ok(first.then_some(Piece { kind, at: 0, bytes }))
        }

        fn step(&self, _: Piece, _: &mut [u8]) -> Result<u64, Trouble> {
            self.tried.fetch_add(1, Ordering::SeqCst);
            self.job.wait().enter();
            Err(Trouble::on(IoSide::Write, JobError::new(Errno::IO)))
        }

        fn policy(&self, _: IoSide) -> ErrorPolicy {
            ErrorPolicy::Ignore
        }

        fn no_buffer(&self, _: usize, cause: &std::io::Error) -> JobError {
            JobError::with_message(Errno::IO, cause.to_string())
        }
    }

    struct Tries(Arc<Nagged>);

    impl Driver for Tries {
        fn job_type(&self) -> &'static str {
            "tries"
        }

        fn run(&self, mut context: RunContext<'_>) -> Result<(), JobError> {
            let pass = Pass {
                op: "copy",
                workers: 1,
                buffer_bytes: BLOCK_BYTES,
                io_trace: None,
            };
            let began = context.now();
            let answer = pass.run(&*self.0, &mut context);
            let took = context.now().saturating_sub(began);
            self.0.took.set(took).unwrap();
            answer
        }
    }

    #[test]
    fn what_is_tried_again_is_given_its_time_whoever_enters_the_job() {
        let task = Arc::new(Nagged::default());
        let config = ManagerConfig::default().virtual_time(true);
        let (manager, mut main_loop) = Manager::new(config);
        let created = manager.create(JobOptions::new("j0"), Tries(Arc::clone(&task)));
        let job = created.unwrap().start();
        task.job.set(job.clone()).unwrap();
        main_loop.run_until_idle();
        assert_eq!(job.outcome(), Some(Err(JobError::new(Errno::IO))));
        assert_eq!(task.tried.load(Ordering::SeqCst) as u32, 1 + Retries::LIMIT);
        let took = *task.took.get().unwrap();
        assert_eq!(took, Retries::DELAY * Retries::LIMIT);
    }

    #[test]
    fn pieces_shrink_with_the_limit_but_never_to_nothing() {
        let chunk = 512 << 10;
        assert_eq!(piece_bytes(chunk, 0), chunk);
        assert_eq!(piece_bytes(chunk, u64::MAX), chunk);
        assert_eq!(piece_bytes(chunk, 1 << 20), 100 << 10);
        assert_eq!(piece_bytes(chunk, 1), 4096);
    }
}
