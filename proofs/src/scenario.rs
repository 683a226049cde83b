//! Scenarios: jobs, groups, and what controllers ask of them; and how one is played.
//!
//! The playing thread makes the jobs, starts them, starts the controllers, becomes the main loop,
//! and ends when every job is gone. Every controller's program is given an ending that lets this
//! happen whatever it asked before.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use blockjob::engine::{JobOptions, MainLoop, Manager, ManagerConfig, Transaction};
use blockjob_model::accept::Seen;
use blockjob_model::{Callback, Request, Status};

use crate::actor::{self, Actor, Role};
use crate::ask::{Asker, Company};
use crate::judge::Cast;
use crate::obligations;
use crate::record::{Recorder, Target};
use crate::story::teller;
use crate::tool;

pub use crate::ask::Ask;

/// What one controller does: each step names a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Controller(pub Vec<(u8, Ask)>);

impl Controller {
    /// Where it asks one of these for the last time.
    fn last_of_any(&self, asks: &[Ask]) -> Option<usize> {
        self.0.iter().rposition(|(_, ask)| asks.contains(ask))
    }
}

/// A member of the scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    /// Its group's number, counting from 0. Members of a group stand together, groups in order.
    pub group: u8,
    /// What it is and does.
    pub role: Role,
}

/// A whole scenario.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Scenario {
    /// The jobs, in the order of their creation.
    pub members: Vec<Member>,
    /// What the playing thread asks before it starts the jobs …
    pub before_start: Vec<(u8, Ask)>,
    /// … and after it started them, before it becomes the main loop.
    pub before_loop: Vec<(u8, Ask)>,
    /// The other threads.
    pub controllers: Vec<Controller>,
    /// They begin before the jobs start, not after.
    pub early: bool,
    /// The groups after the first one are created and started when the other threads are there.
    pub late: bool,
    /// A controller starts the first group, or gives it up.
    pub apart: bool,
    /// What the main loop waits to see of the first job, and then asks of it: nobody else does.
    pub home: Option<(Status, Ask)>,
}

impl Scenario {
    /// One job and these controllers.
    pub fn single(role: Role, controllers: Vec<Vec<Ask>>) -> Scenario {
        Scenario {
            members: vec![Member { group: 0, role }],
            controllers: controllers
                .into_iter()
                .map(|asks| Controller(asks.into_iter().map(|ask| (0, ask)).collect()))
                .collect(),
            ..Scenario::default()
        }
    }

    /// One transaction of these members.
    pub fn transaction(roles: &[Role]) -> Scenario {
        Scenario {
            members: roles
                .iter()
                .map(|&role| Member { group: 0, role })
                .collect(),
            ..Scenario::default()
        }
    }

    /// What the judge has to know.
    pub fn cast(&self) -> Cast {
        Cast {
            jobs: self
                .members
                .iter()
                .map(|member| (member.group, member.role.spec()))
                .collect(),
        }
    }

    /// Plays it once, on the calling thread and those it starts.
    pub fn play(&self, recorder: &Arc<Recorder>) {
        recorder.clear();
        let (manager, mut main_loop) = Manager::new(config(recorder));
        let company = Company::new(&manager);
        let late = |member: &Member| self.late && member.group > 0;
        let first_late = self.members.iter().position(late);
        let in_time = 0..first_late.unwrap_or(self.members.len());
        let groups = self.create(&manager, &company, recorder, in_time.clone(), false);
        let mut main = Asker::thread(0, recorder, &company);
        for &(job, ask) in &self.before_start {
            main.ask(job, ask);
        }
        let mut threads = Vec::new();
        if self.early {
            threads = self.controllers(&company, recorder);
        }
        if self.apart {
            for (first, transaction) in groups {
                company.leave_to_start(self.members[first].group, transaction);
            }
        } else {
            self.start(groups, recorder);
        }
        for &(job, ask) in &self.before_loop {
            main.ask(job, ask);
        }
        if !self.early {
            threads = self.controllers(&company, recorder);
        }
        if first_late.is_some() {
            let late = in_time.end..self.members.len();
            let groups = self.create(&manager, &company, recorder, late, false);
            self.start(groups, recorder);
        }
        if let Some((status, ask)) = self.home {
            let last = [status, Status::Concluded, Status::Null];
            main_loop.run_until(|| last.contains(&recorder.status(0)));
            if recorder.status(0) == status {
                main.ask(0, ask);
            }
        }
        let by_hand = self.decided_by_hand().next().is_some();
        if self.needs_main_loop() && !by_hand {
            main_loop.run();
        }
        self.decide(&mut main_loop, &mut main, recorder);
        if self.needs_main_loop() && by_hand {
            main_loop.run();
        }
        for thread in threads {
            thread.join().expect("a controller panicked");
        }
        for number in 0..self.members.len() as u8 {
            // It waits for its user.
            if recorder.status(number) == Status::Concluded {
                main.ask(number, Ask::Dismiss);
            }
        }
        if tool::TOOL != Some("loom")
            && let Err(fault) = obligations::nobody_is_listed(&manager)
        {
            teller::fail(*fault);
        }
        // The last that drivers hear is still to come.
        drop(main_loop);
        company.part();
    }

    /// Makes the jobs, group by group; each group with the place of its first member.
    pub(crate) fn create(
        &self,
        manager: &Manager,
        company: &Arc<Company>,
        recorder: &Arc<Recorder>,
        places: Range<usize>,
        stepwise: bool,
    ) -> Vec<(usize, Transaction)> {
        let mut groups: Vec<(usize, Transaction)> = Vec::new();
        for place in places {
            let member = &self.members[place];
            let of_last = groups
                .last()
                .is_some_and(|&(first, _)| self.members[first].group == member.group);
            if !of_last {
                groups.push((place, manager.transaction()));
            }
            let number = place as u8;
            let actor = Actor::new(
                number,
                member.role,
                Arc::clone(recorder),
                Arc::clone(company),
            )
            .stepwise(stepwise);
            let (_, transaction) = groups.last_mut().expect("pushed above");
            let options = options(number, member.role, recorder, company);
            let job = recorder.call(0, Target::Job(number), Request::Create, || {
                transaction.create(options, actor)
            });
            company.join(job.expect("a well-formed id that nobody else has"));
        }
        groups
    }

    fn start(&self, groups: Vec<(usize, Transaction)>, recorder: &Recorder) {
        for (first, transaction) in groups {
            let group = self.members[first].group;
            // Who was cancelled does not start; the handles say how it ended.
            let cancelled = self.before_start.iter().any(|&(job, ask)| {
                matches!(ask, Ask::CancelSoft | Ask::CancelForce)
                    && self.members[usize::from(job)].group == group
            });
            if cancelled {
                drop(transaction.start());
            } else {
                recorder.call(0, Target::Group(group), Request::Start, || {
                    Ok(transaction.start())
                });
            }
        }
    }

    /// Somebody asks what nobody but the main loop can answer, also when every job is gone: then the main
    /// loop runs until the last controller tells it to stop.
    fn needs_main_loop(&self) -> bool {
        let mut asks = self.controllers.iter().flat_map(|controller| &controller.0);
        asks.any(|(_, ask)| ask.needs_main_loop())
    }

    /// The jobs that the main loop finalizes.
    fn decided_by_hand(&self) -> impl Iterator<Item = u8> {
        let members = self.members.iter().zip(0u8..);
        members
            .filter(|(member, _)| !member.role.auto_finalize)
            .map(|(_, number)| number)
    }

    /// Starts the other threads.
    fn controllers(
        &self,
        company: &Arc<Company>,
        recorder: &Arc<Recorder>,
    ) -> Vec<tool::JoinHandle<()>> {
        let stays = self.needs_main_loop();
        let left = Arc::new(AtomicUsize::new(self.controllers.len()));
        self.controllers
            .iter()
            .enumerate()
            .map(|(place, controller)| {
                let thread = place as u8 + 1;
                let program = self.with_ending(place, controller);
                let asker = Asker::thread(thread, recorder, company);
                let (company, left) = (Arc::clone(company), Arc::clone(&left));
                let by_hand: Vec<u8> = self.decided_by_hand().collect();
                tool::spawn(move || {
                    asker.ask_all(&program);
                    if left.fetch_sub(1, Ordering::SeqCst) == 1 && stays {
                        // The main loop decides these first, and must not be told to stop before.
                        for job in by_hand.into_iter().filter_map(|job| company.job(job)) {
                            let _ = job.wait_concluded();
                        }
                        company.dissolve();
                    }
                })
            })
            .collect()
    }

    /// A controller's program, ended so that no job waits for somebody who has left: whoever may
    /// have paused a job resumes it, and a job that waits to be told how to finish is told.
    fn with_ending(&self, place: usize, controller: &Controller) -> Vec<(u8, Ask)> {
        let mut program = controller.0.clone();
        let alone = self.controllers.len() == 1;
        let couple = self.controllers.len() == 2;
        let begun = controller.last_of_any(&[Ask::DrainBegin, Ask::DrainAll]);
        if begun > controller.last_of_any(&[Ask::DrainEnd]) {
            program.push((0, Ask::DrainEnd));
        }
        for (job, member) in self.members.iter().enumerate() {
            let job = job as u8;
            let last = |wanted: Ask| {
                controller
                    .0
                    .iter()
                    .rposition(|&(other, ask)| other == job && ask == wanted)
            };
            let resumed_at_home = matches!(self.home, Some((_, Ask::Resume)));
            let pauses = last(Ask::Pause) > last(Ask::Resume) && !resumed_at_home;
            // What is asked while a pause of its own is outstanding is refused, but for a forced cancel.
            let heard = |place: usize| {
                let last = |wanted: Ask| {
                    let mut before = controller.0[..place].iter();
                    before.rposition(|&(other, ask)| other == job && ask == wanted)
                };
                last(Ask::Pause) <= last(Ask::Resume)
            };
            let complete = last(Ask::Complete).max(last(Ask::CompleteSync));
            let told = last(Ask::AwaitReady).is_some() && complete.is_some_and(heard);
            if told && !pauses {
                // Completed when it was ready: nothing else may have to wake it (P25).
                continue;
            }
            let forced = last(Ask::CancelForce)
                .max(last(Ask::CancelSync))
                .max(controller.last_of_any(&[Ask::CancelAll]));
            if forced > last(Ask::Pause) {
                // Nothing holds it and nothing makes it wait from there on, but for others' pauses.
                continue;
            }
            if member.role.stops() {
                // Whoever waits for it to stop resumes it; else it may stop after any resume.
                let resumed = last(Ask::Resume) > last(Ask::AwaitPaused);
                let waited = last(Ask::AwaitPaused).is_some() && last(Ask::Pause).is_none();
                // The abort of its group ends it, whatever it is in.
                let aborted = controller.0.iter().any(|&(peer, ask)| {
                    let forced = matches!(ask, Ask::CancelForce | Ask::CancelSync);
                    forced && peer != job && self.members[usize::from(peer)].group == member.group
                });
                let told = alone && (aborted || (waited && resumed));
                let ends = place + 1 == self.controllers.len() && !told;
                program.extend(ends.then_some((job, Ask::CancelForce)));
            } else if member.role.ready.is_none() {
                program.extend(pauses.then_some((job, Ask::Resume)));
            } else if couple {
                // One of the two ends it, whatever the other one still asks: fewest sections.
                program.extend((place == 1).then_some((job, Ask::CancelForce)));
            } else if pauses && last(Ask::Complete).is_none() {
                program.push((job, Ask::CancelForce));
            } else {
                program.extend(pauses.then_some((job, Ask::Resume)));
                // A soft cancel is refused while somebody else has the job paused.
                let cancel = last(Ask::CancelSoft);
                let told = alone && cancel > last(Ask::Pause) && cancel.is_some_and(heard);
                program.extend((!told).then_some((job, Ask::CancelSoft)));
            }
        }
        let last = |wanted| controller.last_of_any(&[wanted]);
        if last(Ask::HoldAll) > last(Ask::ReleaseAll) {
            program.push((0, Ask::ReleaseAll));
        }
        program
    }

    /// Is the main loop until every job is concluded; finalizes what waits for its user. Where a
    /// job stands it reads in the record: asking the engine would be one more thing to interleave.
    fn decide(&self, main_loop: &mut MainLoop, main: &mut Asker, recorder: &Recorder) {
        for (number, member) in self.members.iter().enumerate() {
            if member.role.auto_finalize {
                continue;
            }
            let number = number as u8;
            let decidable = [Status::Pending, Status::Concluded, Status::Null];
            main_loop.run_until(|| decidable.contains(&recorder.status(number)));
            if recorder.status(number) == Status::Pending {
                main.ask(number, Ask::Finalize);
            }
        }
        main_loop.run_until_idle();
    }
}

/// A manager that records, and whose sleeps take no time.
pub(crate) fn config(recorder: &Arc<Recorder>) -> ManagerConfig {
    ManagerConfig::default()
        .virtual_time(true)
        .trace(Arc::clone(recorder) as _)
}

fn options(number: u8, role: Role, recorder: &Arc<Recorder>, company: &Arc<Company>) -> JobOptions {
    let (recorder, company) = (Arc::clone(recorder), Arc::clone(company));
    JobOptions::new(format!("j{number}"))
        .manual_finalize(!role.auto_finalize)
        .manual_dismiss(!role.auto_dismiss)
        .on_completion(move |_| {
            recorder.see(number, Seen::Begin(Callback::Completion));
            let inside = role.inside;
            if let Some(inside) = inside.filter(|inside| inside.callback == Callback::Completion) {
                actor::ask_inside(number, inside, &recorder, &company);
            }
            recorder.see(number, Seen::End(Callback::Completion, true));
        })
}
