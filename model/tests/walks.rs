//! Goal: the acceptor takes every behaviour of the specification, through every view.
//!
//! Method: random walks over the explorer's relation, with random members and random requests,
//! accepted and refused. What each walk shows, as the view lets it through, goes to an acceptor,
//! which folds invisible steps in its own way and must find an explanation all the same. Seeds
//! are fixed; a failure prints the whole walk.

use blockjob_model::accept::{Acceptor, JobKey, Seen};
use blockjob_model::explore::{Bounds, Move, moves};
use blockjob_model::profile::REFERENCE;
use blockjob_model::request::{Effect, judge};
use blockjob_model::state::{Group, JobSpec, World};
use blockjob_model::step::{Output, View};
use blockjob_model::{Profile, Request};

/// Random numbers good enough to walk by (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % limit
    }

    fn chance(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }
}

const REQUESTS: [Request; 12] = [
    Request::Pause,
    Request::Resume,
    Request::Cancel { force: false },
    Request::Cancel { force: true },
    Request::Complete,
    Request::Finalize,
    Request::Dismiss,
    Request::SET_SPEED,
    Request::SET_SPEED_NEGATIVE,
    Request::Change,
    Request::EarlyFail,
    Request::AttachContext,
];

/// `internal`: jobs without an id as well; QMP shows nothing of those.
fn random_spec(dice: &mut Dice, internal: bool) -> JobSpec {
    let can_complete = dice.chance(2);
    // Nobody finalizes or dismisses a job without an id.
    let internal = internal && dice.chance(8);
    JobSpec {
        auto_finalize: internal || dice.chance(2),
        auto_dismiss: internal || dice.chance(2),
        can_complete,
        needs_finish: can_complete && dice.chance(2),
        block: !dice.chance(4),
        internal,
        completion: dice.chance(2),
    }
}

/// One walk and the acceptor that follows it.
struct Walk {
    world: World,
    profile: &'static Profile,
    view: View,
    bounds: Bounds,
    acceptor: Acceptor,
    group: blockjob_model::accept::GroupKey,
    jobs: Vec<JobKey>,
    /// Starts that have not been answered: the thread, and the member if it is one alone.
    starts: Vec<(u16, Option<usize>)>,
    /// Drained sections that wait for their members to be quiet.
    drains: Vec<u8>,
    story: Vec<String>,
}

/// The thread of the call that takes time, and that of those that do not.
const SLOW: u16 = 0;
const QUICK: u16 = 1;
/// The first of the threads that begin drained sections, one a token.
const DRAINER: u16 = 2;
/// The first of the threads that start jobs.
const STARTER: u16 = 4;

impl Walk {
    fn new(profile: &'static Profile, view: View, dice: &mut Dice) -> Walk {
        let view = View {
            resumes: view.callbacks,
            frees: view.callbacks,
            ..view
        };
        let members = 1 + dice.below(3);
        let specs: Vec<_> = (0..members)
            .map(|_| random_spec(dice, view.callbacks))
            .collect();
        let mut acceptor = Acceptor::new(profile, view);
        let group = acceptor.group(Group::CLOSED);
        let jobs: Vec<_> = specs
            .iter()
            .enumerate()
            .map(|(member, &spec)| acceptor.job(group, &[spec], &format!("j{member}")))
            .collect();
        if !view.callbacks {
            for &job in &jobs {
                acceptor.start(job);
            }
        }
        Walk {
            story: vec![format!("{specs:?}")],
            starts: Vec::new(),
            drains: Vec::new(),
            world: World::new(Group::CLOSED, specs),
            profile,
            view,
            bounds: Bounds {
                io_max: 2,
                tokens_max: if view.callbacks { 2 } else { 0 },
                // The walk itself is the finest there is, the view only hides. A recording of
                // callbacks synchronises the threads it records.
                points: true,
                late_reads: view.late_reads || !view.callbacks,
                io_errors: true,
                set_speed: true,
                callback_edges: true,
                sleeps: true,
                drains: view.callbacks,
            },
            acceptor,
            group,
            jobs,
        }
    }

    fn check<T>(&self, verdict: Result<T, blockjob_model::accept::Rejection>) -> T {
        verdict.unwrap_or_else(|rejection| {
            panic!(
                "{} through {:?} refused a walk of the specification: {rejection:#?}\n{}",
                self.profile.name,
                self.view,
                self.story.join("\n")
            )
        })
    }

    fn show(&mut self, output: Output) {
        let seen = match output {
            Output::Status(_, status) if self.view.shows_status(self.profile) => {
                Seen::Status(status)
            }
            Output::Event(_, event) => Seen::Event(event),
            Output::Begin(_, callback) if self.view.callbacks => Seen::Begin(callback),
            Output::End(_, callback, well) if self.view.callbacks => Seen::End(callback, well),
            Output::PointBegin(_) if self.view.points => Seen::PointBegin,
            Output::PointEnd(_) if self.view.points => Seen::PointEnd,
            Output::IoBegin(_) if self.view.io => Seen::IoBegin,
            Output::IoEnd(_) if self.view.io => Seen::IoEnd,
            _ => return,
        };
        let verdict = self.acceptor.observe(self.jobs[output.member()], seen);
        self.check(verdict);
    }

    fn make(&mut self, made: Move, next: World, output: Option<Output>) {
        self.story.push(made.describe(output));
        // With QMP a job is created and started by one command, which nobody waits for here.
        let callbacks = self.view.callbacks;
        let visible = |request| {
            callbacks
                || !matches!(
                    request,
                    Request::Create | Request::Start | Request::EarlyFail
                )
        };
        let under_way = !next.calls.is_empty();
        match made {
            Move::Step(_) => {
                if let Some(output) = output {
                    self.show(output);
                }
                if !self.world.calls.is_empty() && !under_way {
                    let verdict = self.acceptor.answer(SLOW, Ok(()));
                    self.check(verdict);
                }
            }
            Move::Answer(Request::DrainBegin { token }, _) => self.answer_drain(token),
            Move::Answer(_, reply) => {
                let verdict = self.acceptor.answer(SLOW, reply);
                self.check(verdict);
            }
            Move::Ask(_, Request::DrainBegin { token }) => {
                let thread = DRAINER + u16::from(token);
                self.acceptor
                    .call_group(thread, self.group, Request::DrainBegin { token });
                self.drains.push(token);
            }
            Move::Ask(member, request) => {
                if let Request::DrainEnd { token } = request {
                    // Nobody was there to be waited for.
                    self.answer_drain(token);
                }
                let slow = under_way && self.world.calls.is_empty();
                let start = request == Request::Start;
                let thread = match (slow, start) {
                    (true, _) => SLOW,
                    (false, true) => STARTER + self.starts.len() as u16,
                    (false, false) => QUICK,
                };
                if visible(request) {
                    match member {
                        Some(member) => {
                            let job = Some(self.jobs[member]);
                            self.acceptor.call(thread, job, request, false);
                        }
                        None => self.acceptor.call_group(thread, self.group, request),
                    }
                }
                if let Some(output) = output {
                    self.show(output);
                }
                if visible(request) && start {
                    self.starts.push((thread, member));
                } else if visible(request) && !slow {
                    let verdict = self.acceptor.answer(thread, Ok(()));
                    self.check(verdict);
                }
            }
        }
        self.world = next;
        self.answer_starts();
    }

    /// A drained section has begun, if it had not.
    fn answer_drain(&mut self, token: u8) {
        if let Some(place) = self.drains.iter().position(|&waits| waits == token) {
            self.drains.remove(place);
            let verdict = self.acceptor.answer(DRAINER + u16::from(token), Ok(()));
            self.check(verdict);
        }
    }

    /// A start is answered once the jobs run, or a cancel was faster.
    fn answer_starts(&mut self) {
        while let Some(&(thread, member)) = self.starts.last() {
            let starts = |at: usize| self.world.jobs[at].starting;
            let waits = member.map_or_else(|| (0..self.jobs.len()).any(starts), starts);
            if waits {
                return;
            }
            self.starts.pop();
            let verdict = self.acceptor.answer(thread, Ok(()));
            self.check(verdict);
        }
    }

    /// Asks something that is refused, if the request chosen is.
    fn ask_in_vain(&mut self, dice: &mut Dice) {
        let member = dice.below(self.jobs.len());
        let request = REQUESTS[dice.below(REQUESTS.len())];
        let block = dice.chance(2);
        let owes = |world: &World| {
            let nothing = blockjob_model::state::Owes::Nothing;
            world.jobs.iter().any(|job| job.owes != nothing)
        };
        if let Effect::Refuse(refusal) = judge(&self.world, member, request, block, self.profile)
            && !owes(&self.world)
            && (self.view.callbacks || request != Request::EarlyFail)
        {
            self.story
                .push(format!("job {member}: {request} is refused: {refusal:?}"));
            let job = Some(self.jobs[member]);
            self.acceptor.call(QUICK, job, request, block);
            let verdict = self.acceptor.answer(QUICK, Err(refusal));
            self.check(verdict);
        }
    }

    fn go(&mut self, dice: &mut Dice, steps_max: usize) {
        for _ in 0..steps_max {
            if dice.chance(4) {
                self.ask_in_vain(dice);
            }
            let mut ways = Vec::new();
            moves(
                &self.world,
                self.profile,
                self.bounds,
                &mut |made, next, output| {
                    ways.push((made, next.into_world(), output));
                },
            );
            // Mostly let things happen; callers that ask at every turn end every job at once.
            if !dice.chance(5) && ways.iter().any(|(made, ..)| !asked(made)) {
                ways.retain(|(made, ..)| !asked(made));
            }
            if ways.is_empty() {
                break;
            }
            let (made, next, output) = ways.swap_remove(dice.below(ways.len()));
            self.make(made, next, output);
        }
        if self.world.is_freed(self.profile) {
            while let Some(&token) = self.drains.first() {
                self.answer_drain(token);
            }
            self.check(self.acceptor.finish());
        }
        // Where jobs pause unasked and cancels are taken back, three of them may be anywhere.
        if self.profile.name == REFERENCE.name {
            assert_eq!(self.acceptor.widened(), 0);
        }
    }
}

fn asked(made: &Move) -> bool {
    matches!(made, Move::Ask(..))
}

/// How many walks; the reference has more of them.
const WALKS: u64 = 1500;

fn walk(profile: &'static Profile, view: View, seed: u64, walks: u64) {
    let mut over = 0;
    for number in 0..walks {
        let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (number * 2 + 1));
        for _ in 0..8 {
            dice.below(2);
        }
        let mut walk = Walk::new(profile, view, &mut dice);
        walk.go(&mut dice, 400);
        over += u64::from(walk.world.is_freed(profile));
    }
    assert!(
        over > walks / 8,
        "walks should come to an end: {over} of {walks}"
    );
}

#[test]
fn of_the_reference_seen_in_full() {
    walk(&REFERENCE, View::FULL, 1, WALKS);
}

#[test]
fn of_the_reference_under_weak_memory() {
    walk(&REFERENCE, View::WEAK, 2, WALKS);
}

#[test]
fn of_the_reference_as_its_trace_shows_it() {
    walk(&REFERENCE, View::TRACE, 3, WALKS);
}

#[test]
fn of_the_reference_over_qmp() {
    walk(&REFERENCE, View::QMP, 4, WALKS);
}

/// Profiles that behave alike are walked once.
#[test]
fn of_every_qemu_seen_in_full_and_over_qmp() {
    let mut walked: Vec<&Profile> = vec![&REFERENCE];
    for (at, profile) in Profile::ALL.into_iter().enumerate() {
        if !walked.iter().any(|other| other.behaves_as(profile)) {
            walked.push(profile);
            walk(profile, View::FULL, 5 + at as u64, WALKS / 10);
            walk(profile, View::QMP, 25 + at as u64, WALKS / 5);
        }
    }
    assert_eq!(walked.len(), 8);
}
