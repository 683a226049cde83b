//! Goal: the conformance vectors hold what they promise, and never disagree with the acceptor.
//!
//! Method: for every profile, every edge of every automaton is walked once from the beginning, and what was
//! sent and seen on the way is shown to the acceptor as a QMP client sees it. What a vector does not allow is
//! shown to it, too: it must refuse it unless drivers run, which may do more than they are ordered to, and most
//! of it even then. The names of the vectors, and how
//! many there are of each profile, are pinned.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;

use blockjob_model::accept::{Acceptor, JobKey, Seen};
use blockjob_model::profile::{ManualStages, REFERENCE};
use blockjob_model::state::Group;
use blockjob_model::step::View;
use blockjob_model::vectors::{self, Action, Kind, Observation, Rest, Vector};
use blockjob_model::{Event, Profile, Request, Status};

/// The acceptor, as a client of one vector feeds it.
struct Judge<'a> {
    acceptor: &'a mut Acceptor,
    jobs: Vec<JobKey>,
    group: blockjob_model::accept::GroupKey,
}

impl<'a> Judge<'a> {
    /// Begins again; what the acceptor found out about the specification stays.
    fn new(acceptor: &'a mut Acceptor, vector: &Vector) -> Judge<'a> {
        acceptor.restart();
        let group = acceptor.group(Group::CLOSED);
        let jobs = vector
            .members
            .iter()
            .enumerate()
            .map(|(at, member)| acceptor.job(group, &[member.spec], &vectors::id(at)))
            .collect();
        Judge {
            acceptor,
            jobs,
            group,
        }
    }

    fn send(&mut self, action: Action) {
        let one = |member: usize| Some(self.jobs[member]);
        let (job, request, block) = match action {
            Action::Create(member) => (one(member), Request::Create, false),
            Action::Start => {
                self.acceptor.call_group(0, self.group, Request::Start);
                return;
            }
            Action::GiveUp(member) => (one(member), Request::EarlyFail, false),
            Action::Ask {
                member,
                request,
                block,
            } => (one(member), request, block),
            // What drivers do, they do for the acceptor, too.
            Action::Converge(_) | Action::IoError(..) | Action::End(..) => return,
        };
        self.acceptor.call(0, job, request, block);
    }

    fn see(&mut self, seen: Observation) -> Result<(), String> {
        match seen {
            Observation::Status(member, status) => self
                .acceptor
                .observe(self.jobs[member], Seen::Status(status)),
            Observation::Event(member, event) => {
                self.acceptor.observe(self.jobs[member], Seen::Event(event))
            }
            Observation::Accepted => self.acceptor.answer(0, Ok(())),
            Observation::Refused { refusal, .. } => self.acceptor.answer(0, Err(refusal)),
        }
        .map_err(|rejection| format!("{}: {}", rejection.rule, rejection.message))
    }
}

/// A step on the way through an automaton: something is sent at rest, or seen.
#[derive(Clone, Copy)]
enum Walked {
    Sent(Action),
    Seen(Observation),
}

/// A shortest way to each state.
fn ways(vector: &Vector) -> Vec<Vec<Walked>> {
    let mut ways: Vec<Option<Vec<Walked>>> = vec![None; vector.states.len()];
    ways[0] = Some(Vec::new());
    let mut queue = VecDeque::from([0]);
    while let Some(at) = queue.pop_front() {
        let way = ways[at].clone().unwrap();
        let state = &vector.states[at];
        let mut next: Vec<(Walked, usize)> = state
            .see
            .iter()
            .map(|&(seen, to)| (Walked::Seen(seen), to))
            .collect();
        if let Rest::Sends(send, to) = state.rest {
            next.push((Walked::Sent(vector.sends[send]), to));
        }
        for (walked, to) in next {
            if ways[to].is_none() {
                ways[to] = Some([way.as_slice(), &[walked]].concat());
                queue.push_back(to);
            }
        }
    }
    ways.into_iter().map(Option::unwrap).collect()
}

fn walked<'a>(acceptor: &'a mut Acceptor, vector: &Vector, way: &[Walked]) -> Judge<'a> {
    let mut judge = Judge::new(acceptor, vector);
    for step in way {
        match *step {
            Walked::Sent(action) => judge.send(action),
            Walked::Seen(seen) => judge
                .see(seen)
                .unwrap_or_else(|why| panic!("{} {}: {why}", vector.profile.name, vector.name)),
        }
    }
    judge
}

#[test]
fn whoever_passes_a_vector_is_accepted() {
    for profile in Profile::ALL {
        let mut acceptor = Acceptor::new(profile, View::QMP);
        for vector in vectors::all(profile) {
            for (state, way) in vector.states.iter().zip(ways(&vector)) {
                for &(seen, _) in &state.see {
                    let way = [way.as_slice(), &[Walked::Seen(seen)]].concat();
                    walked(&mut acceptor, &vector, &way);
                }
            }
        }
    }
}

/// Jobs were started: drivers that nobody orders may fail, end or converge by now, and the command that starts
/// them may fail.
fn drivers_run(way: &[Walked]) -> bool {
    way.iter()
        .any(|step| matches!(step, Walked::Sent(Action::Start)))
}

#[test]
fn what_a_vector_does_not_allow_is_refused_unless_it_is_up_to_drivers() {
    let (mut refused, mut drivers) = (0_u64, 0_u64);
    let mut acceptor = Acceptor::new(&REFERENCE, View::QMP);
    for vector in vectors::all(&REFERENCE) {
        let alphabet = (0..vector.members.len()).flat_map(|member| {
            let statuses = Status::ALL.map(|status| Observation::Status(member, status));
            let events = [
                Event::Ready,
                Event::Pending,
                Event::Completed { error: false },
                Event::Completed { error: true },
                Event::Cancelled,
            ];
            let events = events.map(|event| Observation::Event(member, event));
            statuses.into_iter().chain(events)
        });
        let alphabet: Vec<Observation> = alphabet.collect();
        for (state, way) in vector.states.iter().zip(ways(&vector)) {
            for &seen in &alphabet {
                if state.see.iter().any(|&(allowed, _)| allowed == seen) {
                    continue;
                }
                if walked(&mut acceptor, &vector, &way).see(seen).is_err() {
                    refused += 1;
                } else {
                    assert!(
                        drivers_run(&way),
                        "{}: {seen:?} is taken by the acceptor, and no driver's doing",
                        vector.name
                    );
                    drivers += 1;
                }
            }
        }
    }
    let share = refused as f64 / (refused + drivers) as f64;
    assert!(share > 0.9, "{refused} refused, {drivers} taken");
}

#[test]
fn every_verb_meets_every_status() {
    for profile in Profile::ALL {
        let mut met: BTreeMap<(Status, String), BTreeSet<bool>> = BTreeMap::new();
        let cells = vectors::all(profile);
        for vector in cells.iter().filter(|vector| vector.kind == Kind::Cell) {
            let parts: Vec<&str> = vector.name.split('/').collect();
            let [_, status, verb, answers] = parts[..] else {
                panic!("{}", vector.name)
            };
            let status = Status::from_name(status).unwrap();
            let verb = verb.trim_end_matches("-by-block-job").to_owned();
            let answers = answers.split("-or-").map(|answer| answer == "accepted");
            met.entry((status, verb)).or_default().extend(answers);
        }
        let mut verbs: BTreeMap<&str, blockjob_model::Verb> = BTreeMap::from([
            ("pause", blockjob_model::Verb::Pause),
            ("resume", blockjob_model::Verb::Resume),
            ("cancel", blockjob_model::Verb::Cancel),
            ("cancel-softly", blockjob_model::Verb::Cancel),
            ("complete", blockjob_model::Verb::Complete),
            ("set-speed", blockjob_model::Verb::SetSpeed),
            ("set-speed-negative", blockjob_model::Verb::SetSpeed),
        ]);
        if profile.manual_stages != ManualStages::None {
            verbs.insert("finalize", blockjob_model::Verb::Finalize);
            verbs.insert("dismiss", blockjob_model::Verb::Dismiss);
        }
        if profile.change_verb {
            verbs.insert("change", blockjob_model::Verb::Change);
        }
        for status in Status::ALL {
            for (&name, &verb) in &verbs {
                // Before 2.12 nobody stays concluded.
                if status == Status::Concluded && profile.manual_stages == ManualStages::None {
                    continue;
                }
                if status == Status::Pending && profile.manual_stages == ManualStages::None {
                    continue;
                }
                let Some(answers) = met.get(&(status, name.to_owned())) else {
                    panic!("{}: nothing tries {name} in {status}", profile.name)
                };
                let permitted = profile.permits(verb, status);
                assert!(
                    permitted || !answers.contains(&true),
                    "{}: {name} is accepted in {status}",
                    profile.name
                );
            }
        }
    }
}

#[test]
fn the_tour_takes_every_move_of_the_table() {
    for profile in Profile::ALL {
        let tour: Vec<Vector> = vectors::all(profile)
            .into_iter()
            .filter(|vector| vector.kind == Kind::Tour)
            .collect();
        let missing: Vec<_> = vectors::tour_edges()
            .into_iter()
            .filter(|edge| !tour.iter().any(|vector| vector.covers.contains(edge)))
            // Before there was a finalize, nobody had the time to cancel what was pending.
            .filter(|&edge| {
                profile.manual_stages != ManualStages::None
                    || edge != (Status::Pending, Status::Aborting)
            })
            .collect();
        assert_eq!(missing, [], "{}", profile.name);
        // None of them is there for nothing.
        for left_out in 0..tour.len() {
            let others: BTreeSet<_> = tour
                .iter()
                .enumerate()
                .filter(|&(at, _)| at != left_out)
                .flat_map(|(_, vector)| vector.covers.iter().copied())
                .collect();
            let all = tour.iter().flat_map(|vector| vector.covers.iter().copied());
            let all: BTreeSet<_> = all.collect();
            assert!(others.len() < all.len(), "{}: {left_out}", profile.name);
        }
    }
    assert_eq!(vectors::tour_edges().len(), 19);
}

#[test]
fn the_vectors_of_every_profile_are_these() {
    let mut told = String::new();
    for profile in Profile::ALL {
        let all = vectors::all(profile);
        let names: BTreeSet<&str> = all.iter().map(|vector| vector.name.as_str()).collect();
        assert_eq!(names.len(), all.len(), "names are unique");
        let counts = Kind::ALL.map(|kind| {
            let count = all.iter().filter(|vector| vector.kind == kind).count();
            format!("{count} {}", kind.name())
        });
        writeln!(told, "{}: {}", profile.name, counts.join(", ")).unwrap();
    }
    for vector in vectors::all(&REFERENCE) {
        let (sent, states) = (vector.sends.len(), vector.states.len());
        writeln!(told, "{}: {sent} sent, {states} states", vector.name).unwrap();
    }
    insta::assert_snapshot!("vectors", told);
}

#[test]
fn what_is_written_is_one_vector_a_line() {
    let all = vectors::all(&REFERENCE);
    for kind in Kind::ALL {
        let text = vectors::kind(&REFERENCE, kind, &all);
        let count = all.iter().filter(|vector| vector.kind == kind).count();
        assert_eq!(text.lines().count(), count + 2);
    }
}
