//! Goal: every switch of a profile decides something, and QEMU's defects break the properties that
//! the table of differences says, and no others.
//!
//! Method: for each switch a tiny history, through the acceptor, the judge of requests or the
//! relation, that one value of it explains and the other does not. Then the explorer: every
//! profile, with what it breaks pinned, and each difference alone on top of the reference.

use std::collections::BTreeSet;

use blockjob_model::accept::{Acceptor, JobKey, Seen, SightPattern};
use blockjob_model::explore::{
    self, Bounds, Options, Report, Scenario, moves, run_over, scenarios,
};
use blockjob_model::profile::{
    ASPECTS, DIFFERENCES, Profile, QEMU_2_11, QEMU_4_2, QEMU_6_0, QEMU_10_0, REFERENCE, Told, Where,
};
use blockjob_model::request::{Effect, apply, apply_after_callback, judge};
use blockjob_model::state::{Body, Cancel, Group, JobSpec, World};
use blockjob_model::step::{Step, View, steps};
use blockjob_model::{Callback, ErrorAction, Event, Refusal, Request, Status, Verb};

use Status::{
    Aborting, Concluded, Created, Null, Paused, Pending, Ready, Running, Standby, Waiting,
};

const PLAIN: JobSpec = JobSpec::PLAIN;
const MANUAL: JobSpec = JobSpec {
    auto_finalize: false,
    ..PLAIN
};
const MIRROR: JobSpec = JobSpec {
    can_complete: true,
    needs_finish: true,
    ..PLAIN
};
const DONE: Event = Event::Completed { error: false };
const FAILED: Event = Event::Completed { error: true };
const STOPPED: Event = Event::Error {
    action: ErrorAction::Stop,
};
const SOFTLY: Request = Request::Cancel { force: false };
const BY_FORCE: Request = Request::Cancel { force: true };
/// Callbacks, those that not everybody shows included.
const TOLD: View = View {
    resumes: true,
    frees: true,
    ..View::FULL
};

/// A history, and whether a profile explains it so far.
struct Story {
    acceptor: Acceptor,
    group: blockjob_model::accept::GroupKey,
    jobs: Vec<JobKey>,
    explained: bool,
}

impl Story {
    fn new(profile: &'static Profile, view: View, specs: &[JobSpec]) -> Story {
        let mut acceptor = Acceptor::new(profile, view);
        let group = acceptor.group(Group::CLOSED);
        let jobs = specs.iter().map(|&spec| acceptor.job(group, &[spec], "j"));
        Story {
            jobs: jobs.collect(),
            acceptor,
            group,
            explained: true,
        }
    }

    /// As QMP shows it: the creating command starts the jobs. They run.
    fn qmp(profile: &'static Profile, specs: &[JobSpec]) -> Story {
        let mut story = Story::new(profile, View::QMP, specs);
        for job in story.jobs.clone() {
            story.acceptor.start(job);
        }
        (0..specs.len())
            .fold(story, |story, job| story.to(job, &[Created]))
            .running()
    }

    /// With callbacks. The jobs are created.
    fn created(profile: &'static Profile, specs: &[JobSpec]) -> Story {
        let mut story = Story::new(profile, TOLD, specs);
        for job in 0..specs.len() {
            story = story.ask(job, Request::Create).to(job, &[Created]).ok();
        }
        story
    }

    /// With callbacks. The jobs run.
    fn started(profile: &'static Profile, specs: &[JobSpec]) -> Story {
        let mut story = Story::created(profile, specs);
        story.acceptor.call_group(0, story.group, Request::Start);
        let jobs = specs.len();
        let story = story.running().ok();
        (0..jobs).fold(story, |story, job| story.begin(job, Callback::Run))
    }

    /// Newest first: an order that every profile here has.
    fn running(self) -> Story {
        (0..self.jobs.len())
            .rev()
            .fold(self, |story, job| story.to(job, &[Running]))
    }

    fn see(mut self, job: usize, seen: Seen) -> Story {
        self.explained &= self.acceptor.observe(self.jobs[job], seen).is_ok();
        self
    }

    fn to(self, job: usize, statuses: &[Status]) -> Story {
        let see = |story: Story, &status: &Status| story.see(job, Seen::Status(status));
        statuses.iter().fold(self, see)
    }

    fn event(self, job: usize, event: Event) -> Story {
        self.see(job, Seen::Event(event))
    }

    fn begin(self, job: usize, callback: Callback) -> Story {
        self.see(job, Seen::Begin(callback))
    }

    fn end(self, job: usize, callback: Callback, well: bool) -> Story {
        self.see(job, Seen::End(callback, well))
    }

    fn through(self, job: usize, callbacks: &[Callback]) -> Story {
        let go = |story: Story, &callback: &_| story.begin(job, callback).end(job, callback, true);
        callbacks.iter().fold(self, go)
    }

    fn ask(mut self, job: usize, request: Request) -> Story {
        let job = Some(self.jobs[job]);
        self.acceptor.call(0, job, request, false);
        self
    }

    fn ask_all(mut self, request: Request) -> Story {
        self.acceptor.call(0, None, request, false);
        self
    }

    fn ok(mut self) -> Story {
        self.explained &= self.acceptor.answer(0, Ok(())).is_ok();
        self
    }

    fn refused(mut self, refusal: Refusal) -> Story {
        self.explained &= self.acceptor.answer(0, Err(refusal)).is_ok();
        self
    }

    fn told(self, job: usize, request: Request) -> Story {
        self.ask(job, request).ok()
    }

    /// A member that has converged.
    fn ready(self, job: usize) -> Story {
        self.to(job, &[Ready]).event(job, Event::Ready)
    }

    /// A query shows the only job in this status.
    fn shown(mut self, status: Status) -> Story {
        self.acceptor.call(0, None, Request::Query, false);
        let pattern = SightPattern {
            status: Some(status),
            ready: None,
            paused: None,
            io_failed: None,
            failed: None,
        };
        let sights = [(self.jobs[0], pattern)];
        self.explained &= self.acceptor.looked(0, &sights).is_ok();
        self
    }
}

/// A started job in this place, asked for with this request; whether it then was woken.
fn woken(profile: &'static Profile, body: Body, request: Request) -> bool {
    let mut world = World::new(Group::CLOSED, [PLAIN]);
    let job = &mut world.jobs[0];
    (job.status, job.body, job.entered) = (Running, body, true);
    match request {
        Request::Enter => apply(&mut world, 0, request, profile),
        _ => apply_after_callback(&mut world, 0, request, false, profile),
    };
    world.jobs[0].woken
}

/// Whether a pause wakes a job that waits without a timer.
fn kicked(profile: &'static Profile) -> bool {
    let mut world = World::new(Group::CLOSED, [PLAIN]);
    let job = &mut world.jobs[0];
    (job.status, job.body, job.entered) = (Running, Body::Yielded, true);
    apply(&mut world, 0, Request::Pause, profile);
    offers(&world, profile, Step::Wake(0))
}

/// Whether a job whose run has ended, which its status does not say yet, can still be paused.
fn paused_after_its_end(profile: &'static Profile) -> bool {
    let mut world = World::new(Group::CLOSED, [PLAIN]);
    let job = &mut world.jobs[0];
    (job.status, job.body, job.entered) = (Running, Body::Ended, true);
    judge(&world, 0, Request::Pause, false, profile) == Effect::Apply
}

/// Whether a job cancelled by force before its first step may end without running.
fn unrun(profile: &'static Profile) -> bool {
    let mut world = World::new(Group::CLOSED, [PLAIN]);
    let job = &mut world.jobs[0];
    (job.status, job.body, job.cancel) = (Running, Body::AtPoint, Cancel::Force);
    offers(&world, profile, Step::SkipRun(0))
}

/// Whether this step is one of those possible, for somebody who sees everything.
fn offers(world: &World, profile: &Profile, wanted: Step) -> bool {
    let view = View {
        ends: true,
        sleeps: true,
        ..TOLD
    };
    let mut offered = false;
    steps(world, profile, view, &mut |step, _, _| {
        offered |= step == wanted;
    });
    offered
}

/// A switch, and a history that tells its values apart.
struct Tale {
    switch: &'static str,
    /// Sets the switch as it is in another profile.
    adopt: fn(&mut Profile, &Profile),
    /// Two values of it.
    values: [&'static Profile; 2],
    /// What else is as in this profile.
    rest: &'static Profile,
    /// Which of the two explains the history.
    explains: usize,
    history: fn(&'static Profile) -> bool,
}

macro_rules! tales {
    ($($switch:literal $field:ident, $rest:ident, $explains:ident but not $other:ident: $history:expr;)*) => {
        &[$(Tale {
            switch: $switch,
            adopt: |profile, from| profile.$field = from.$field,
            values: [&$explains, &$other],
            rest: &$rest,
            explains: 0,
            history: $history,
        }),*]
    };
}

/// One for each switch that the relation honours.
#[rustfmt::skip]
const TALES: &[Tale] = tales! {
    "status-events" status_events, REFERENCE, REFERENCE but not QEMU_2_11:
        |p| Story::qmp(p, &[PLAIN]).explained;
    "verb-table" verb_table, REFERENCE, REFERENCE but not QEMU_2_11:
        |p| Story::qmp(p, &[PLAIN]).ask(0, Request::Dismiss)
            .refused(Refusal::Verb { status: Running, verb: Verb::Dismiss }).explained;
    "manual-stages" manual_stages, REFERENCE, REFERENCE but not QEMU_2_11:
        |p| Story::qmp(p, &[MANUAL]).to(0, &[Waiting, Pending]).event(0, Event::Pending)
            .ask(0, Request::Finalize).event(0, DONE).to(0, &[Concluded, Null]).ok().explained;
    "change-verb" change_verb, REFERENCE, QEMU_10_0 but not REFERENCE:
        |p| Story::qmp(p, &[PLAIN]).told(0, Request::Change).explained;
    "start-order" start_order, REFERENCE, REFERENCE but not QEMU_10_0:
        |p| {
            let mut story = Story::new(p, View::QMP, &[PLAIN, PLAIN]);
            for job in story.jobs.clone() {
                story.acceptor.start(job);
            }
            story.to(0, &[Created]).to(1, &[Created]).to(0, &[Running]).explained
        };
    "pause-is-idempotent" pause_is_idempotent, REFERENCE, QEMU_2_11 but not REFERENCE:
        |p| Story::qmp(p, &[PLAIN]).told(0, Request::Resume).told(0, Request::Pause)
            .told(0, Request::Pause).explained;
    "internal-pauses" internal_pauses, REFERENCE, QEMU_10_0 but not REFERENCE:
        |p| Story::qmp(p, &[PLAIN]).to(0, &[Paused]).explained;
    "pause-point-loops" pause_point_loops, REFERENCE, QEMU_10_0 but not REFERENCE:
        |p| Story::qmp(p, &[PLAIN]).ask_all(Request::Hold { token: 0 }).ok()
            .to(0, &[Paused, Running]).explained;
    "stop-takes-one-slot" stop_takes_one_slot, REFERENCE, REFERENCE but not QEMU_2_11:
        |p| Story::qmp(p, &[PLAIN]).event(0, STOPPED).event(0, STOPPED).to(0, &[Paused])
            .told(0, Request::Resume).to(0, &[Running]).explained;
    "stop-during-resume-wins" stop_during_resume_wins, REFERENCE, REFERENCE but not QEMU_10_0:
        |p| Story::started(p, &[PLAIN]).told(0, Request::Pause).ask(0, Request::Resume)
            .begin(0, Callback::UserResume).event(0, STOPPED).end(0, Callback::UserResume, true).ok()
            .ask(0, Request::Pause).refused(Refusal::AlreadyPaused).explained;
    "pause-kicks" pause_kicks, REFERENCE, REFERENCE but not QEMU_4_2: kicked;
    "resume-cuts-sleep" resume_cuts_sleep, REFERENCE, QEMU_2_11 but not REFERENCE:
        |p| woken(p, Body::Asleep, Request::Resume);
    "speed-wakes" speed_wakes, REFERENCE, REFERENCE but not QEMU_2_11:
        |p| woken(p, Body::Asleep, Request::SET_SPEED_UP);
    "wakes-are-sticky" wakes_are_sticky, REFERENCE, REFERENCE but not QEMU_10_0:
        |p| woken(p, Body::Moving, Request::Enter);
    "ended-is-waiting" ended_is_waiting, REFERENCE, QEMU_10_0 but not REFERENCE: paused_after_its_end;
    "end-clears-pauses" end_clears_pauses, REFERENCE, REFERENCE but not QEMU_10_0:
        |p| Story::qmp(p, &[MANUAL]).told(0, Request::Pause).to(0, &[Waiting, Pending])
            .event(0, Event::Pending).ask(0, Request::Resume).refused(Refusal::NotPaused).explained;
    "standby-complete" standby_complete, REFERENCE, REFERENCE but not QEMU_4_2:
        |p| Story::qmp(p, &[MIRROR]).ready(0).told(0, Request::Pause).to(0, &[Standby])
            .told(0, Request::Complete).explained;
    "complete-is-latched" complete_is_latched, REFERENCE, REFERENCE but not QEMU_10_0:
        |p| Story::started(p, &[MIRROR]).ready(0)
            .ask(0, Request::Complete).through(0, &[Callback::Complete]).ok()
            .told(0, Request::Complete).explained;
    "cancel-is-revocable" cancel_is_revocable, QEMU_10_0, QEMU_6_0 but not QEMU_10_0:
        |p| Story::qmp(p, &[MIRROR]).ready(0).told(0, SOFTLY).to(0, &[Aborting])
            .event(0, Event::Cancelled).explained;
    "force-abandons" force_abandons, QEMU_6_0, QEMU_2_11 but not QEMU_6_0:
        |p| Story::qmp(p, &[MIRROR]).ready(0).told(0, BY_FORCE).to(0, &[Waiting]).explained;
    "cancelled-before-run-is-skipped" cancelled_before_run_is_skipped, REFERENCE, REFERENCE but not QEMU_10_0: unrun;
    "cancel-folds" cancel_folds, REFERENCE, QEMU_2_11 but not REFERENCE:
        |p| Story::qmp(p, &[PLAIN]).told(0, BY_FORCE).to(0, &[Waiting]).explained;
    "waiting-cancel-aborts" waiting_cancel_aborts, REFERENCE, QEMU_2_11 but not REFERENCE:
        |p| Story::qmp(p, &[PLAIN, PLAIN]).to(0, &[Waiting]).told(0, BY_FORCE)
            .to(1, &[Waiting]).explained;
    "peers-forced" peers_forced, REFERENCE, QEMU_6_0 but not REFERENCE:
        |p| Story::qmp(p, &[MIRROR, PLAIN]).ready(0).to(1, &[Aborting]).event(1, FAILED)
            .to(1, &[Concluded, Null]).to(0, &[Aborting]).event(0, DONE).explained;
    "unstarted-peers-end" unstarted_peers_end, REFERENCE, REFERENCE but not QEMU_10_0:
        |p| Story::created(p, &[PLAIN, PLAIN]).ask(0, BY_FORCE).through(0, &[Callback::Cancel])
            .to(1, &[Aborting]).explained;
    "abort-newest-first" abort_newest_first, REFERENCE, QEMU_10_0 but not REFERENCE:
        |p| Story::qmp(p, &[PLAIN, PLAIN]).to(1, &[Aborting]).to(0, &[Aborting])
            .event(1, FAILED).explained;
    "prepare-failure-takes-all" prepare_failure_takes_all, REFERENCE, QEMU_10_0 but not REFERENCE:
        |p| Story::qmp(p, &[PLAIN, PLAIN]).to(1, &[Waiting]).to(0, &[Waiting]).to(1, &[Pending])
            .to(0, &[Pending]).to(1, &[Aborting]).event(1, Event::Cancelled)
            .to(1, &[Concluded, Null]).event(0, DONE).explained;
    "finalize-reports-prepare" finalize_reports_prepare, REFERENCE, QEMU_10_0 but not REFERENCE:
        |p| Story::qmp(p, &[MANUAL]).to(0, &[Waiting, Pending]).event(0, Event::Pending)
            .ask(0, Request::Finalize).to(0, &[Aborting]).event(0, FAILED).to(0, &[Concluded, Null])
            .ok().explained;
    "queries-on-main-loop" queries_on_main_loop, REFERENCE, REFERENCE but not QEMU_10_0:
        |p| Story::qmp(p, &[PLAIN]).to(0, &[Waiting, Pending]).event(0, DONE).shown(Pending).explained;
    "cancel-callback" cancel_callback, REFERENCE, REFERENCE but not QEMU_6_0:
        |p| Story::started(p, &[MIRROR]).ready(0).ask(0, SOFTLY).begin(0, Callback::Cancel)
            .end(0, Callback::Cancel, false).explained;
    "set-speed-callback" set_speed_callback, REFERENCE, REFERENCE but not QEMU_4_2:
        |p| Story::started(p, &[PLAIN]).ask(0, Request::SET_SPEED).begin(0, Callback::SetSpeed).explained;
    "prepare-callback" prepare_callback, REFERENCE, REFERENCE but not QEMU_2_11:
        |p| Story::started(p, &[PLAIN]).end(0, Callback::Run, true).to(0, &[Waiting, Pending])
            .begin(0, Callback::Prepare).explained;
    "user-resume-callback" user_resume_callback, REFERENCE, REFERENCE but not QEMU_2_11:
        |p| Story::started(p, &[PLAIN]).told(0, Request::Pause).ask(0, Request::Resume)
            .begin(0, Callback::UserResume).explained;
    "drain-callback" drain_callback, REFERENCE, REFERENCE but not QEMU_10_0:
        |p| Story::started(p, &[PLAIN]).ask_all(Request::DrainBegin { token: 0 })
            .begin(0, Callback::Drain).explained;
    "drained-poll-callback" drained_poll_callback, REFERENCE, REFERENCE but not QEMU_2_11:
        |p| Story::started(p, &[PLAIN]).ask_all(Request::DrainBegin { token: 0 })
            .begin(0, Callback::DrainedPoll).explained;
    "attached-context-callback" attached_context_callback, REFERENCE, REFERENCE but not QEMU_10_0:
        |p| Story::created(p, &[PLAIN]).ask_all(Request::DrainBegin { token: 0 }).ok()
            .ask(0, Request::AttachContext).begin(0, Callback::AttachedContext).explained;
    "free-callback" free_callback, REFERENCE, REFERENCE but not QEMU_2_11:
        |p| Story::created(p, &[PLAIN]).ask(0, Request::EarlyFail).to(0, &[Null])
            .begin(0, Callback::Free).explained;
};

/// `rest` with this switch as in `from`; what else the history needs is the same in both.
fn with(tale: &Tale, from: &Profile) -> &'static Profile {
    let mut profile = *tale.rest;
    (tale.adopt)(&mut profile, from);
    Box::leak(Box::new(profile))
}

#[test]
fn every_switch_decides_a_history() {
    for tale in TALES {
        for (place, value) in tale.values.into_iter().enumerate() {
            let explained = (tale.history)(with(tale, value));
            assert_eq!(
                explained,
                place == tale.explains,
                "{} as in {}",
                tale.switch,
                value.name
            );
        }
    }
    let told: BTreeSet<&str> = TALES.iter().map(|tale| tale.switch).collect();
    let switches: BTreeSet<&str> = ASPECTS
        .iter()
        .filter(|aspect| aspect.told == Told::Relation)
        .map(|aspect| aspect.name)
        .collect();
    assert_eq!(told, switches);
}

/// What was violated, and in how many steps.
fn violated(report: &Report) -> Vec<(&'static str, usize)> {
    let found = |property: &explore::PropertyReport| {
        Some((property.id, property.counterexample.as_ref()?.len() - 1))
    };
    report.properties.iter().filter_map(found).collect()
}

fn ids(reports: &[Report]) -> BTreeSet<&'static str> {
    let found = reports.iter().flat_map(violated);
    found.map(|(id, _)| id).collect()
}

/// Two jobs with what the departures need and no more, so that every profile can be searched.
fn two() -> Vec<Scenario> {
    let bounds = Bounds {
        io_max: 0,
        tokens_max: 0,
        points: false,
        late_reads: false,
        io_errors: false,
        set_speed: false,
        callback_edges: false,
        sleeps: false,
        drains: false,
    };
    let scenario = |name: &str, specs: [JobSpec; 2]| Scenario {
        name: name.to_owned(),
        specs: specs.to_vec(),
        bounds,
    };
    vec![
        scenario("two plain jobs", [PLAIN, PLAIN]),
        scenario(
            "an older one that must be completed, a newer plain one decided by hand",
            [MIRROR, MANUAL],
        ),
    ]
}

/// One job that its user decides about and dismisses, of each kind, and each kind with sleeps.
fn one(profile: &Profile) -> Vec<Scenario> {
    let mut all = scenarios(1, profile);
    all.retain(|scenario| {
        scenario.bounds.sleeps || scenario.name.ends_with("manual finalize, manual dismiss")
    });
    for scenario in &mut all {
        scenario.bounds.late_reads = false;
        scenario.bounds.io_max = 0;
        scenario.bounds.set_speed = false;
    }
    assert_eq!(all.len(), 6);
    all
}

fn searched(profile: &'static Profile) -> [Report; 2] {
    let options = |jobs| Options::new(profile, jobs).expect("so many jobs can be explored");
    [
        run_over(&options(1), one(profile), &moves, &mut |_| {}),
        run_over(&options(2), two(), &moves, &mut |_| {}),
    ]
}

/// What the tables say a profile breaks.
fn declared(profile: &Profile) -> BTreeSet<&'static str> {
    let numbered = profile
        .differences()
        .flat_map(|difference| difference.breaks);
    let of_its_time = ASPECTS
        .iter()
        .filter(|aspect| (aspect.value)(profile) != (aspect.value)(&REFERENCE))
        .flat_map(|aspect| aspect.breaks);
    numbered.chain(of_its_time).copied().collect()
}

#[test]
fn every_profile_breaks_what_the_tables_say_and_nothing_else() {
    let (mut found, mut wrong) = (Vec::new(), Vec::new());
    let mut seen: Vec<&Profile> = Vec::new();
    for profile in Profile::ALL {
        if seen.iter().any(|other| other.behaves_as(profile)) {
            continue;
        }
        seen.push(profile);
        let reports = searched(profile);
        for report in &reports {
            let list: Vec<String> = violated(report)
                .into_iter()
                .map(|(id, steps)| format!("{id} in {steps}"))
                .collect();
            found.push(format!(
                "{}, {} job{}: {}",
                profile.name,
                report.jobs,
                if report.jobs == 1 { "" } else { "s" },
                if list.is_empty() {
                    "nothing".to_owned()
                } else {
                    list.join(", ")
                }
            ));
        }
        let (broken, declared) = (ids(&reports), declared(profile));
        if broken != declared {
            wrong.push((profile.name, broken, declared));
        }
    }
    assert_eq!(wrong, []);
    insta::assert_snapshot!("what_each_profile_breaks", found.join("\n"));
}

/// The reference with one departure of QEMU breaks exactly what is said of that departure. Like
/// QEMU's, its jobs pause unasked (22), which stands for sections that hold them.
#[test]
fn each_departure_alone_breaks_what_is_said_of_it() {
    let alone = |switches: &[&str], from: &Profile| {
        let mut profile = Profile {
            internal_pauses: true,
            ..REFERENCE
        };
        for tale in TALES {
            if switches.contains(&tale.switch) {
                (tale.adopt)(&mut profile, from);
            }
        }
        let profile: &'static Profile = Box::leak(Box::new(profile));
        ids(&searched(profile))
    };
    let (mut broken, mut wrong, mut seen) = (0, Vec::new(), Vec::new());
    for difference in DIFFERENCES {
        let Where::Switches(switches) = difference.shown else {
            continue;
        };
        // One without any is in some profile, where nothing but what others are said to break is
        // broken; and two may share their switches.
        if difference.breaks.is_empty() {
            continue;
        }
        if let Some((_, breaks)) = seen.iter().find(|(other, _)| *other == switches) {
            assert_eq!(*breaks, difference.breaks, "{}", difference.number);
            continue;
        }
        seen.push((switches, difference.breaks));
        let from = Profile::by_name(difference.profiles[0]).expect("a profile of this name");
        let expected: BTreeSet<&str> = difference.breaks.iter().copied().collect();
        let found = alone(switches, from);
        if found != expected {
            wrong.push((difference.number.to_string(), found));
        }
        broken += 1;
    }
    for aspect in ASPECTS.iter().filter(|aspect| !aspect.breaks.is_empty()) {
        let from = Profile::ALL
            .into_iter()
            .find(|profile| (aspect.value)(profile) != (aspect.value)(&REFERENCE));
        let from = from.expect("a profile in which it is otherwise");
        let expected: BTreeSet<&str> = aspect.breaks.iter().copied().collect();
        let found = alone(&[aspect.name], from);
        if found != expected {
            wrong.push((aspect.name.to_owned(), found));
        }
        broken += 1;
    }
    assert_eq!(wrong, []);
    assert!(broken >= 8, "{broken}");
}

/// In QEMU the block layer pauses whom it likes, so that nothing shows a pause point that is no loop
/// (7); where only requests pause, it shows.
#[test]
fn a_pause_point_that_is_no_loop_is_found_where_only_requests_pause() {
    let profile: &'static Profile = Box::leak(Box::new(Profile {
        pause_point_loops: false,
        ..REFERENCE
    }));
    assert!(!profile.internal_pauses);
    let options = Options::new(profile, 1).expect("so many jobs can be explored");
    let report = run_over(&options, one(profile), &moves, &mut |_| {});
    assert_eq!(ids(&[report]), BTreeSet::from(["P33", "P45", "D7"]));
}
