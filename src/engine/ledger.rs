//! The ledger: which callbacks a driver has had, and which it may have next.
//!
//! It stands in front of every driver, so no callback gets past it, whoever in the engine calls.
//! [`rule`] is the table of SEMANTICS.md §3 (the one in [`crate::driver`], for the engine to read); a
//! callback that breaks its rule is a mistake of the engine and ends the thread that made it: it is
//! not taken for a panic of the driver.
//!
//! Always on: a callback costs a few relaxed operations on a word that nobody waits for. The word
//! orders nothing. What the rules of one thread say of the other's callbacks (no commit while `run`
//! is open) is ordered by the monitor's lock, which the engine takes in between.

use blockjob_model::Callback;

use super::executor::Context;
use crate::driver::{Driver, JobError, RunContext};
use crate::sync::thread::{ThreadId, current_id};
use crate::sync::{Arc, OUR_MISTAKE, OnceLock, Statistic, assert_unlocked};

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    /// The job's body: one thread for all of them.
    Body,
    /// The main loop.
    MainLoop,
    /// The main loop; whoever lets the job go, once the main loop is gone.
    Last,
}

/// When a callback may begin.
struct Rule {
    who: Who,
    /// It begins once, or never.
    once: bool,
    /// One of these has ended. Empty: it may come first.
    after: &'static [Callback],
    /// None of these has begun.
    before: &'static [Callback],
    /// None of these is open: the callbacks that it must not meet on another thread (P27).
    apart: &'static [Callback],
}

/// The callbacks of the body, which have all ended when the main loop decides.
const OF_THE_RUN: &[Callback] = &[Callback::Run, Callback::Pause, Callback::Resume];

/// The callbacks that end a job; requests come before.
const DECISION: &[Callback] = &[Callback::Commit, Callback::Abort];

/// The table. Nothing comes after `free`, and no two callbacks of the main loop are open at a time:
/// these two hold for all and are not repeated here.
fn rule(callback: Callback) -> Rule {
    let request = Rule {
        who: Who::MainLoop,
        once: false,
        after: &[],
        before: DECISION,
        apart: &[],
    };
    let ending = Rule {
        once: true,
        apart: OF_THE_RUN,
        ..request
    };
    match callback {
        Callback::Run => Rule {
            who: Who::Body,
            once: true,
            after: &[],
            before: DECISION,
            apart: &[Callback::Run, Callback::Pause, Callback::Resume],
        },
        // A job that is started while it is held pauses before `run`.
        Callback::Pause | Callback::Resume => Rule {
            who: Who::Body,
            once: false,
            after: &[],
            before: DECISION,
            apart: &[Callback::Pause, Callback::Resume],
        },
        Callback::UserResume
        | Callback::Cancel
        | Callback::SetSpeed
        | Callback::Drain
        | Callback::DrainedPoll
        | Callback::AttachedContext => request,
        // Latched (decision 17).
        Callback::Complete => Rule {
            once: true,
            ..request
        },
        Callback::Prepare => Rule {
            after: &[Callback::Run],
            ..ending
        },
        Callback::Commit => Rule {
            after: &[Callback::Prepare],
            before: &[Callback::Abort],
            ..ending
        },
        Callback::Abort => Rule {
            before: &[Callback::Commit],
            ..ending
        },
        Callback::Clean => Rule {
            after: DECISION,
            before: &[],
            ..ending
        },
        Callback::Completion => Rule {
            after: &[Callback::Clean],
            before: &[],
            ..ending
        },
        Callback::Free => Rule {
            who: Who::Last,
            before: &[],
            ..ending
        },
    }
}

const fn bit(callback: Callback) -> u64 {
    1 << callback as u8
}

/// Where the bits of the open callbacks lie, above those of the ones that have begun.
const OPEN: u32 = 32;

fn bits(callbacks: &[Callback]) -> u64 {
    callbacks
        .iter()
        .fold(0, |bits, callback| bits | bit(*callback))
}

/// A driver, and what it was called for.
pub(super) struct Ledger {
    driver: Box<dyn Driver>,
    id: String,
    main_thread: ThreadId,
    body_thread: OnceLock<ThreadId>,
    /// What has begun, and, shifted by [`OPEN`], what is open.
    word: Statistic,
    /// `pause` has ended and `resume` has not begun; the body's alone.
    paused: Statistic,
}

impl Ledger {
    pub(super) fn new(id: &str, main_thread: ThreadId, driver: Box<dyn Driver>) -> Arc<Ledger> {
        Arc::new(Ledger {
            driver,
            id: id.to_owned(),
            main_thread,
            body_thread: OnceLock::new(),
            word: Statistic::default(),
            paused: Statistic::default(),
        })
    }

    /// Makes a call, which the rules must allow.
    pub(super) fn call<T>(&self, callback: Callback, call: impl FnOnce() -> T) -> T {
        assert_unlocked();
        if let Err(why) = self.begin(callback) {
            panic!(
                "{OUR_MISTAKE}{} of job '{}' {why}",
                callback.name(),
                self.id
            );
        }
        let _open = Open {
            ledger: self,
            callback,
        };
        call()
    }

    /// Whether the callback has begun, ever.
    pub(super) fn has_begun(&self, callback: Callback) -> bool {
        self.word.get() & bit(callback) != 0
    }

    fn begin(&self, callback: Callback) -> Result<(), String> {
        let rule = rule(callback);
        let here = current_id();
        let on_its_thread = match rule.who {
            Who::Body => *self.body_thread.get_or_init(|| here) == here && here != self.main_thread,
            Who::MainLoop => here == self.main_thread,
            Who::Last => true,
        };
        if !on_its_thread {
            return Err("on a thread that is not its own".to_owned());
        }
        let word = self.word.mark(bit(callback) | bit(callback) << OPEN);
        let (begun, open) = (word & ((1 << OPEN) - 1), word >> OPEN);
        let ended = begun & !open;
        let names = |bits: u64| {
            let of = |callback: &&Callback| bits & bit(**callback) != 0;
            let names: Vec<_> = Callback::ALL
                .iter()
                .filter(of)
                .map(|one| one.name())
                .collect();
            names.join(", ")
        };
        if rule.once && begun & bit(callback) != 0 {
            return Err("a second time".to_owned());
        }
        if begun & (bits(rule.before) | bit(Callback::Free)) & !bit(callback) != 0 {
            let late = begun & (bits(rule.before) | bit(Callback::Free));
            return Err(format!("after {}", names(late)));
        }
        if !rule.after.is_empty() && ended & bits(rule.after) == 0 {
            return Err(format!("before the end of {}", names(bits(rule.after))));
        }
        let serial = match rule.who {
            // `run` is open while its pause points call the other two.
            Who::Body => 0,
            Who::MainLoop | Who::Last => !bits(OF_THE_RUN),
        };
        let meets = open & (serial | bits(rule.apart));
        if meets != 0 {
            return Err(format!("inside {}", names(meets)));
        }
        let paused = self.paused.get() != 0;
        match callback {
            Callback::Pause if paused => Err("twice without resume".to_owned()),
            Callback::Resume if !paused => Err("without pause".to_owned()),
            // Balanced when `run` returns (P17).
            Callback::Run | Callback::Prepare | Callback::Commit | Callback::Abort if paused => {
                Err("inside a pause".to_owned())
            }
            // What began is cleaned up before it is let go of, while there is a main loop to do it.
            Callback::Free if begun & bits(DECISION) != 0 && ended & bit(Callback::Clean) == 0 => {
                Err("without clean".to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// A callback that has begun; it ends when this is dropped, by a panic too.
struct Open<'a> {
    ledger: &'a Ledger,
    callback: Callback,
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        match self.callback {
            // A job whose driver panics in `pause` is over, and resumes no more.
            Callback::Pause => self.ledger.paused.set(u64::from(!std::thread::panicking())),
            Callback::Resume => self.ledger.paused.set(0),
            _ => {}
        }
        self.ledger.word.unmark(bit(self.callback) << OPEN);
    }
}

impl Driver for Ledger {
    fn job_type(&self) -> &'static str {
        self.driver.job_type()
    }

    fn run(&self, context: RunContext<'_>) -> Result<(), JobError> {
        self.call(Callback::Run, || self.driver.run(context))
    }

    fn pause(&self) {
        self.call(Callback::Pause, || self.driver.pause());
    }

    fn resume(&self) {
        self.call(Callback::Resume, || self.driver.resume());
    }

    fn user_resume(&self) {
        self.call(Callback::UserResume, || self.driver.user_resume());
    }

    fn supports_complete(&self) -> bool {
        self.driver.supports_complete()
    }

    fn complete(&self) {
        self.call(Callback::Complete, || self.driver.complete());
    }

    fn cancel(&self, force: bool, ready: bool) -> bool {
        self.call(Callback::Cancel, || self.driver.cancel(force, ready))
    }

    fn set_speed(&self, speed_bytes_per_s: u64) {
        self.call(Callback::SetSpeed, || {
            self.driver.set_speed(speed_bytes_per_s);
        });
    }

    fn drain(&self) {
        self.call(Callback::Drain, || self.driver.drain());
    }

    fn drained_poll(&self) -> bool {
        self.call(Callback::DrainedPoll, || self.driver.drained_poll())
    }

    fn attached_context(&self, context: &Context) {
        self.call(Callback::AttachedContext, || {
            self.driver.attached_context(context);
        });
    }

    fn prepare(&self) -> Result<(), JobError> {
        self.call(Callback::Prepare, || self.driver.prepare())
    }

    fn commit(&self) {
        self.call(Callback::Commit, || self.driver.commit());
    }

    fn abort(&self) {
        self.call(Callback::Abort, || self.driver.abort());
    }

    fn clean(&self) {
        self.call(Callback::Clean, || self.driver.clean());
    }

    fn free(&self) {
        self.call(Callback::Free, || self.driver.free());
    }
}

#[cfg(all(test, not(any(blockjob_loom, blockjob_shuttle))))]
mod tests {
    use super::*;

    struct Idle;

    impl Driver for Idle {
        fn job_type(&self) -> &'static str {
            "idle"
        }

        fn run(&self, _: RunContext<'_>) -> Result<(), JobError> {
            Ok(())
        }
    }

    /// A ledger whose main loop is the calling thread, and what it says of a sequence of callbacks,
    /// each over before the next begins.
    fn verdict(callbacks: &[Callback]) -> Result<(), String> {
        let ledger = Ledger::new("j0", current_id(), Box::new(Idle));
        let mut verdict = Ok(());
        std::thread::scope(|scope| {
            // The body's callbacks are made on a thread of their own, one after the other with ours.
            let (orders, body) = std::sync::mpsc::channel::<Callback>();
            let (done, answers) = std::sync::mpsc::channel();
            let of_the_body = &ledger;
            scope.spawn(move || {
                for callback in body {
                    done.send(attempt(of_the_body, callback)).ok();
                }
            });
            for callback in callbacks {
                verdict = if OF_THE_RUN.contains(callback) {
                    orders.send(*callback).ok();
                    answers
                        .recv()
                        .unwrap_or_else(|_| Err("no answer".to_owned()))
                } else {
                    attempt(&ledger, *callback)
                };
                if verdict.is_err() {
                    break;
                }
            }
            drop(orders);
        });
        verdict
    }

    fn attempt(ledger: &Ledger, callback: Callback) -> Result<(), String> {
        ledger.begin(callback)?;
        drop(Open { ledger, callback });
        Ok(())
    }

    const WHOLE: [Callback; 9] = [
        Callback::Pause,
        Callback::Resume,
        Callback::Run,
        Callback::Cancel,
        Callback::Prepare,
        Callback::Commit,
        Callback::Clean,
        Callback::Completion,
        Callback::Free,
    ];

    #[test]
    fn a_life_by_the_table_is_allowed() {
        assert_eq!(verdict(&WHOLE), Ok(()));
        assert_eq!(verdict(&[Callback::Free]), Ok(()), "given up");
        let unstarted = [
            Callback::Cancel,
            Callback::Abort,
            Callback::Clean,
            Callback::Free,
        ];
        assert_eq!(verdict(&unstarted), Ok(()));
        let twice = [Callback::Cancel, Callback::SetSpeed, Callback::Cancel];
        assert_eq!(verdict(&twice), Ok(()));
    }

    #[test]
    fn every_departure_from_the_table_is_seen() {
        use Callback::{
            Abort, Cancel, Clean, Commit, Complete, Completion, Free, Pause, Prepare, Resume, Run,
            UserResume,
        };
        let wrong: [(&[Callback], &str); 19] = [
            (&[Run, Run], "a second time"),
            (&[Complete, Complete], "a second time"),
            (&[Pause, Pause], "twice without resume"),
            (&[Resume], "without pause"),
            (&[Pause, Run], "inside a pause"),
            (&[Run, Pause, Prepare], "inside a pause"),
            (&[Run, Pause, Resume, Pause, Abort], "inside a pause"),
            (&[Prepare], "before the end of run"),
            (&[Run, Commit], "before the end of prepare"),
            (&[Run, Prepare, Prepare], "a second time"),
            (&[Run, Prepare, Commit, Abort], "after commit"),
            (&[Abort, Commit], "after abort"),
            (&[Abort, Run], "after abort"),
            (&[Abort, Cancel], "after abort"),
            (&[Abort, UserResume], "after abort"),
            (&[Clean], "before the end of commit, abort"),
            (&[Completion], "before the end of clean"),
            (&[Abort, Free], "without clean"),
            (&[Free, Cancel], "after free"),
        ];
        for (callbacks, words) in wrong {
            let verdict = verdict(callbacks).expect_err(words);
            assert!(verdict.contains(words), "{callbacks:?}: {verdict}");
        }
        for callback in WHOLE {
            let mut more = WHOLE.to_vec();
            more.push(callback);
            assert!(verdict(&more).is_err(), "{callback} after free");
        }
    }

    #[test]
    fn callbacks_that_must_not_meet_are_seen_to_meet() {
        let ledger = Ledger::new("j0", current_id(), Box::new(Idle));
        let inside = |outer, inner| {
            let verdict = ledger.call(outer, || ledger.begin(inner));
            verdict.expect_err("they meet")
        };
        assert_eq!(
            inside(Callback::Cancel, Callback::SetSpeed),
            "inside cancel"
        );
        let ledger = Ledger::new("j0", current_id(), Box::new(Idle));
        std::thread::scope(|scope| {
            let body = scope.spawn(|| ledger.begin(Callback::Run));
            assert_eq!(body.join().ok(), Some(Ok(())));
        });
        // The run is open: no decision (P27), but requests.
        assert_eq!(ledger.begin(Callback::Abort), Err("inside run".to_owned()));
    }

    #[test]
    fn a_callback_elsewhere_is_seen() {
        let ledger = Ledger::new("j0", current_id(), Box::new(Idle));
        let elsewhere = Err("on a thread that is not its own".to_owned());
        assert_eq!(ledger.begin(Callback::Run), elsewhere, "on the main loop");
        let on_two_threads = |callback| {
            std::thread::scope(|scope| scope.spawn(|| ledger.begin(callback)).join().ok())
        };
        assert_eq!(on_two_threads(Callback::Cancel), Some(elsewhere));
    }

    #[test]
    fn the_engine_s_mistake_is_not_taken_for_the_driver_s() {
        let ledger = Ledger::new("j0", current_id(), Box::new(Idle));
        let attempt = || {
            super::super::stage::infallible("clean", || ledger.clean());
        };
        let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(attempt));
        let words = caught.expect_err("it goes on through the engine's own net");
        let words = words.downcast_ref::<String>().map(String::as_str);
        assert_eq!(
            words,
            Some(
                "the engine broke its own rules: clean of job 'j0' before the end of commit, abort"
            )
        );
    }
}
