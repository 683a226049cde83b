//! Goal: what QMP shows of the specification is what the specification does, neither less nor more.
//!
//! Method: over QMP the steps inside callbacks are folded into the visible ones, by rules of their
//! own (`step/body.rs`, `step/call.rs`). Both relations are followed at once, as sets of worlds, the
//! fine one with everything hidden that QMP does not show; whatever either can show next, the other must
//! be able to show too. From the command that creates them, up to so many requests are put, at most
//! two at a time, and every pair of sets that this leads to is visited. A failure prints the way there.
//!
//! Not compared: a creating command that fails after all, which the fine view knows as a
//! request of the creator's; queries; internal jobs; requests of somebody unseen.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use blockjob_model::profile::REFERENCE;
use blockjob_model::state::{Call, CallState, Group, JobSpec, World};
use blockjob_model::step::{Output, Step, View, steps};
use blockjob_model::{Profile, Reply, Request};

/// All there is to be seen but I/O, which changes nothing that QMP shows.
const FINE: View = View {
    io: false,
    ends: true,
    sleeps: true,
    ..View::FULL
};

/// What passes between the job layer and its users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Letter {
    /// The thread asks something of the member.
    Ask(u16, u16, Request),
    /// It is answered.
    Answer(u16, Reply),
    /// Something is seen.
    See(Output),
}

/// The sets of worlds that one relation can be in, made as they are met, and numbered.
struct Sets<'a> {
    profile: &'a Profile,
    view: View,
    numbers: HashMap<Vec<World>, usize>,
    worlds: Vec<Vec<World>>,
    /// What each set shows next, and the set it is then.
    shows: Vec<Option<BTreeMap<Letter, usize>>>,
    asks: HashMap<(usize, Letter), usize>,
}

impl<'a> Sets<'a> {
    fn new(profile: &'a Profile, view: View) -> Sets<'a> {
        Sets {
            profile,
            view,
            numbers: HashMap::new(),
            worlds: Vec::new(),
            shows: Vec::new(),
            asks: HashMap::new(),
        }
    }

    /// What QMP shows of it.
    fn shown(&self, output: Option<Output>) -> Option<Output> {
        output.filter(|output| match output {
            Output::Status(..) => View::QMP.shows_status(self.profile),
            Output::Event(..) => true,
            _ => false,
        })
    }

    /// The number of the set of these worlds and all that they may become unseen.
    fn number(&mut self, mut left: Vec<World>) -> usize {
        let mut all: BTreeSet<World> = BTreeSet::new();
        while let Some(world) = left.pop() {
            if !all.contains(&world) {
                steps(
                    &world,
                    self.profile,
                    self.view,
                    &mut |step, next, output| {
                        if is_compared(step) && self.shown(output).is_none() {
                            left.push(next.into_world());
                        }
                    },
                );
                all.insert(world);
            }
        }
        let worlds: Vec<World> = all.into_iter().collect();
        if let Some(&number) = self.numbers.get(&worlds) {
            return number;
        }
        self.numbers.insert(worlds.clone(), self.worlds.len());
        self.worlds.push(worlds);
        self.shows.push(None);
        self.worlds.len() - 1
    }

    /// What can be seen or answered next.
    fn shows(&mut self, number: usize) -> BTreeMap<Letter, usize> {
        if let Some(shows) = &self.shows[number] {
            return shows.clone();
        }
        let mut ways: BTreeMap<Letter, Vec<World>> = BTreeMap::new();
        for world in &self.worlds[number] {
            steps(world, self.profile, self.view, &mut |step, next, output| {
                if is_compared(step)
                    && let Some(output) = self.shown(output)
                {
                    let to = ways.entry(Letter::See(output)).or_default();
                    to.push(next.into_world());
                }
            });
            for (place, call) in world.calls.iter().enumerate() {
                if let CallState::Answered(reply) = call.state {
                    let mut next = world.clone();
                    next.calls.remove(place);
                    let to = ways.entry(Letter::Answer(call.thread, reply)).or_default();
                    to.push(next);
                }
            }
        }
        let shows: BTreeMap<_, _> = ways
            .into_iter()
            .map(|(letter, worlds)| (letter, self.number(worlds)))
            .collect();
        self.shows[number] = Some(shows.clone());
        shows
    }

    /// The set after a request was put.
    fn asked(&mut self, number: usize, thread: u16, member: u16, request: Request) -> usize {
        let letter = Letter::Ask(thread, member, request);
        if let Some(&after) = self.asks.get(&(number, letter)) {
            return after;
        }
        let mut worlds = self.worlds[number].clone();
        for world in &mut worlds {
            let place = world.calls.partition_point(|call| call.thread < thread);
            let call = Call {
                thread,
                member: Some(member),
                request,
                block: false,
                posted: false,
                state: CallState::Issued,
            };
            world.calls.insert(place, call);
        }
        let after = self.number(worlds);
        self.asks.insert((number, letter), after);
        after
    }
}

fn is_compared(step: Step) -> bool {
    !matches!(step, Step::FailEarly(_) | Step::FailTogether(_))
}

/// Where both are.
struct Pair {
    coarse: usize,
    fine: usize,
    /// The threads that wait for an answer.
    wait: [bool; 2],
    /// How many requests were put.
    asked: usize,
    /// The pair before, and what led here.
    from: Option<(usize, Letter)>,
}

fn way(pairs: &[Pair], mut at: usize) -> String {
    let mut lines = Vec::new();
    while let Some((before, letter)) = pairs[at].from {
        lines.push(format!("  {letter:?}"));
        at = before;
    }
    lines.reverse();
    lines.join("\n")
}

/// Follows both as far as `asked_max` requests lead; answers how many pairs of sets that are.
fn compare(profile: &Profile, specs: &[JobSpec], requests: &[Request], asked_max: usize) -> usize {
    let mut world = World::new(Group::CLOSED, specs.iter().copied());
    for job in &mut world.jobs {
        job.starting = true;
    }
    let mut coarse_sets = Sets::new(profile, View::QMP);
    let mut fine_sets = Sets::new(profile, FINE);
    let mut pairs = vec![Pair {
        coarse: coarse_sets.number(vec![world.clone()]),
        fine: fine_sets.number(vec![world]),
        wait: [false; 2],
        asked: 0,
        from: None,
    }];
    let mut met = BTreeSet::new();
    let mut left = VecDeque::from([0]);
    while let Some(at) = left.pop_front() {
        let Pair {
            coarse,
            fine,
            wait,
            asked,
            ..
        } = pairs[at];
        let coarse_shows = coarse_sets.shows(coarse);
        let fine_shows = fine_sets.shows(fine);
        let differs =
            |letter: &&Letter| coarse_shows.contains_key(letter) != fine_shows.contains_key(letter);
        if let Some(letter) = coarse_shows.keys().chain(fine_shows.keys()).find(differs) {
            panic!(
                "{}: {letter:?} is {} after\n{}\nof {specs:?}; fine: {:?}",
                profile.name,
                if fine_shows.contains_key(letter) {
                    "refused over QMP, and can happen,"
                } else {
                    "let pass over QMP, and cannot happen,"
                },
                way(&pairs, at),
                fine_sets.worlds[fine],
            );
        }
        let mut go = |letter, coarse, fine, wait, asked| {
            if met.insert((coarse, fine, asked)) {
                left.push_back(pairs.len());
                pairs.push(Pair {
                    coarse,
                    fine,
                    wait,
                    asked,
                    from: Some((at, letter)),
                });
            }
        };
        for (letter, coarse) in coarse_shows {
            let mut wait = wait;
            if let Letter::Answer(thread, _) = letter {
                wait[usize::from(thread)] = false;
            }
            go(letter, coarse, fine_shows[&letter], wait, asked);
        }
        if asked == asked_max {
            continue;
        }
        // The threads are alike: the second one asks only while the first one waits.
        let thread = match wait {
            [false, _] => 0,
            [true, false] => 1,
            [true, true] => continue,
        };
        for member in 0..specs.len() as u16 {
            for &request in requests {
                let mut wait = wait;
                wait[usize::from(thread)] = true;
                go(
                    Letter::Ask(thread, member, request),
                    coarse_sets.asked(coarse, thread, member, request),
                    fine_sets.asked(fine, thread, member, request),
                    wait,
                    asked + 1,
                );
            }
        }
    }
    pairs.len()
}

const REQUESTS: [Request; 7] = [
    Request::Pause,
    Request::Resume,
    Request::Cancel { force: false },
    Request::Cancel { force: true },
    Request::Complete,
    Request::Finalize,
    Request::Dismiss,
];

const MIRROR: JobSpec = JobSpec {
    can_complete: true,
    needs_finish: true,
    ..JobSpec::PLAIN
};

const fn manual(spec: JobSpec) -> JobSpec {
    JobSpec {
        auto_finalize: false,
        auto_dismiss: false,
        ..spec
    }
}

/// The jobs that differ in what the folding rules ask about.
const KINDS: [JobSpec; 6] = [
    JobSpec::PLAIN,
    MIRROR,
    manual(JobSpec::PLAIN),
    manual(MIRROR),
    JobSpec {
        can_complete: true,
        ..JobSpec::PLAIN
    },
    JobSpec {
        block: false,
        completion: false,
        ..JobSpec::PLAIN
    },
];

#[test]
fn of_a_plain_job_with_two_requests() {
    assert_eq!(compare(&REFERENCE, &[JobSpec::PLAIN], &REQUESTS, 2), 18_924);
}

#[test]
fn of_a_job_that_converges_with_two_requests() {
    assert_eq!(compare(&REFERENCE, &[MIRROR], &REQUESTS, 2), 28_687);
}

#[test]
fn of_a_group_of_two_with_one_request() {
    let group = [manual(JobSpec::PLAIN), MIRROR];
    assert_eq!(compare(&REFERENCE, &group, &REQUESTS, 1), 15_045);
}

/// With two requests one difference is known and meant (`Relation::softly_cancelled`): a QEMU job that
/// converged and fails of itself in the very moment of a soft cancel.
#[test]
fn of_every_profile_with_one_request() {
    let mut compared: Vec<&Profile> = Vec::new();
    for profile in Profile::ALL {
        if !compared.iter().any(|other| other.behaves_as(profile)) {
            compared.push(profile);
            for spec in KINDS {
                assert!(compare(profile, &[spec], &REQUESTS, 1) > 10);
            }
        }
    }
    assert_eq!(compared.len(), 8);
}
