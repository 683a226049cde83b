//! Any number of jobs: the group's rules and properties over worlds that count members only as
//! none, one or many.
//!
//! A [`Crowd`] is what is left of a world when each member is reduced to its [`Local`] state and
//! members in the same one are told apart no more (counter abstraction). There are finitely many
//! crowds, whatever the number of members, so a search meets all of them. Its steps are not
//! written down a second time: a crowd is put on stage as a world of *representatives*, one for
//! each member it has one of and two where it has many, and the specification itself
//! ([`crate::step`]) says what these may do. Each local state in turn acts, and beside whoever acts
//! each in turn has the newest member, because the rules that know an order take the newest first;
//! so every member a rule could take is taken.
//!
//! Every step of a world of any size is a step of its crowd, or none (docs/any-number.md says why,
//! and what this does not show). So a property that no crowd breaks holds for any number of jobs.
//! A crowd may do more than any world, so a broken one may be a false alarm.
//!
//! ```
//! use blockjob_model::crowd;
//!
//! let report = crowd::run(&crowd::properties(), |_| {});
//! assert!(report.held());
//! println!("{} crowds, {} transitions", report.states, report.transitions);
//! ```

mod local;

use core::fmt::{self, Write as _};

use crate::explore::{Move, Progress, PropertyReport};
use crate::hash::FastMap;
use crate::profile::{Profile, REFERENCE};
use crate::property::{Check, Edge, History, Place, Property};
use crate::request::{self, Effect, judge};
use crate::state::{Group, Job, JobSpec, World};
use crate::status::Status;
use crate::step::{Changed, Kinds, Next, Output, View, steps};
use crate::vocabulary::{Callback, Event, Request};

pub use local::Local;

/// Whose rules. The others are not covered.
pub const PROFILE: &Profile = &REFERENCE;

/// How far an answer reaches.
pub const BOUND: &str = "any number of jobs (counter abstraction 0/1/many, safety)";

/// How many members there are of a kind that has any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Count {
    /// One.
    One,
    /// Two or more.
    Many,
}

impl Count {
    /// How many members stand for it. Two are enough to stand for many: no rule counts further.
    const fn on_stage(self) -> usize {
        match self {
            Count::One => 1,
            Count::Many => 2,
        }
    }
}

/// A transaction of any number of members: how many are in which local state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Crowd {
    /// What the main loop is doing for all of them.
    group: Group,
    /// In the order of the states; who is not there has no members.
    members: Vec<(Local, Count)>,
}

impl Crowd {
    /// What is left of this world.
    pub fn of(world: &World, history: &[History]) -> Crowd {
        let mut crowd = Crowd::empty(local::of_group(world));
        for (job, &past) in world.jobs.iter().zip(history) {
            let local = Local::of(job, past, crowd.group);
            crowd.add(local, Count::One);
        }
        crowd
    }

    /// Transactions none of whose members is created yet.
    fn beginnings() -> [Crowd; 2] {
        [Count::One, Count::Many].map(|count| {
            let mut crowd = Crowd::empty(Group::CLOSED);
            let unborn = Job::new(JobSpec::PLAIN);
            let local = Local::of(&unborn, History::default(), crowd.group);
            crowd.add(local, count);
            crowd
        })
    }

    const fn empty(group: Group) -> Crowd {
        Crowd {
            group,
            members: Vec::new(),
        }
    }

    /// One or many more in this local state, if they are members.
    fn add(&mut self, local: Option<Local>, count: Count) {
        let Some(local) = local else { return };
        match self
            .members
            .binary_search_by(|(known, _)| known.cmp(&local))
        {
            Ok(at) => self.members[at].1 = Count::Many,
            Err(at) => self.members.insert(at, (local, count)),
        }
    }

    /// In words, for a story.
    fn words(&self) -> String {
        if self.members.is_empty() {
            return "nobody".to_owned();
        }
        let mut words = String::new();
        for (local, count) in &self.members {
            let number = match count {
                Count::One => "one",
                Count::Many => "many",
            };
            if !words.is_empty() {
                words.push_str("; ");
            }
            // Writing to a string does not fail.
            let _ = write!(words, "{number} {}", local.words());
        }
        words
    }
}

/// A world on stage for a crowd: one or two members of each kind it has.
struct Stage {
    world: World,
    history: Vec<History>,
    /// Where the one that acts stands.
    actor: usize,
    /// Where the others of each kind stand.
    others: Vec<[Option<usize>; 2]>,
}

impl Stage {
    /// One of the kind `acting` acts; the newest is one of the kind `newest`, or else the one that
    /// acts.
    fn new(crowd: &Crowd, acting: usize, newest: Option<usize>) -> Stage {
        let mut stage = Stage::default();
        stage.world.group = crowd.group;
        for (kind, (local, count)) in crowd.members.iter().enumerate() {
            let mut others = count.on_stage() - usize::from(kind == acting);
            if newest == Some(kind) {
                others -= 1;
            }
            let mut places = [None; 2];
            for place in &mut places[..others] {
                *place = Some(stage.enter(local));
            }
            stage.others.push(places);
        }
        stage.actor = stage.enter(&crowd.members[acting].0);
        if let Some(kind) = newest {
            let place = stage.enter(&crowd.members[kind].0);
            let [first, second] = &mut stage.others[kind];
            *if first.is_none() { first } else { second } = Some(place);
        }
        stage
    }

    /// Nobody acts.
    fn still(crowd: &Crowd) -> Stage {
        let mut stage = Stage::default();
        stage.world.group = crowd.group;
        for (local, count) in &crowd.members {
            for _ in 0..count.on_stage() {
                stage.enter(local);
            }
        }
        stage
    }

    /// Every way to put a crowd on stage so that one of the kind `acting` acts: any kind may have
    /// the newest member.
    fn all(crowd: &Crowd, acting: usize) -> impl Iterator<Item = Stage> {
        let can = move |&kind: &usize| kind != acting || crowd.members[kind].1 == Count::Many;
        let newest = (0..crowd.members.len()).filter(can).map(Some);
        [None]
            .into_iter()
            .chain(newest)
            .map(move |newest| Stage::new(crowd, acting, newest))
    }

    fn default() -> Stage {
        Stage {
            world: World::new(Group::CLOSED, []),
            history: Vec::new(),
            actor: 0,
            others: Vec::new(),
        }
    }

    /// Another member; its place.
    fn enter(&mut self, local: &Local) -> usize {
        self.world.jobs.push(local.job);
        self.history.push(local.history);
        self.history.len() - 1
    }

    fn place(&self) -> Place<'_> {
        Place {
            world: &self.world,
            history: &self.history,
            profile: PROFILE,
        }
    }
}

/// A relation to explore: calls back with everything that may happen next in a world, as far as it
/// is about the member given or about none.
///
/// The specification's own is [`moves`]; tests wrap it to see what they broke be found.
pub type Relation<'a> = dyn Fn(&World, usize, &mut dyn FnMut(Move, Next<'_>, Option<Output>)) + 'a;

/// What a member and the main loop do, seen as finely as the properties of groups need.
const VIEW: View = View {
    callbacks: true,
    points: false,
    io: false,
    late_reads: false,
    ends: true,
    resumes: false,
    frees: false,
    sleeps: false,
    unseen: Kinds::NONE,
};

/// Everything that may happen next in `world` to `acting`, or to no member in particular, requests
/// included.
pub fn moves(world: &World, acting: usize, visit: &mut dyn FnMut(Move, Next<'_>, Option<Output>)) {
    steps(world, PROFILE, VIEW, &mut |step, next, output| {
        if step.words().0.is_none_or(|member| member == acting) {
            visit(Move::Step(step), next, output);
        }
    });
    for request in [
        Request::Create,
        Request::EarlyFail,
        Request::Cancel { force: true },
        Request::Finalize,
    ] {
        ask(world, acting, request, visit);
    }
}

/// A request in the moment it takes effect.
///
/// One with a driver callback is judged before that and set down after it. In between the main loop
/// does nothing else, and what bodies do meanwhile leaves it permitted, so it is judged then as
/// well as before.
fn ask(
    world: &World,
    acting: usize,
    request: Request,
    visit: &mut dyn FnMut(Move, Next<'_>, Option<Output>),
) {
    let runs = |job: &Job| job.started() && !job.is_final();
    if request == Request::Create && world.jobs.iter().any(runs) {
        // A transaction is put together before it starts.
        return;
    }
    let mut next = world.clone();
    match judge(world, acting, request, false, PROFILE) {
        Effect::Refuse(_) | Effect::NotNow => return,
        Effect::Callback { forced, .. } => {
            request::apply_after_callback(&mut next, acting, request, forced, PROFILE);
        }
        Effect::Apply => {
            request::apply(&mut next, acting, request, PROFILE);
        }
    }
    let (before, after) = (world.jobs[acting].status, next.jobs[acting].status);
    let output = (before != after).then_some(Output::Status(acting, after));
    let mut changed = Changed::Anything;
    let next = Next::new(&mut next, &mut changed);
    visit(Move::Ask(Some(acting), request), next, output);
}

/// One step of a crowd, as it was seen on stage.
struct Seen<'a> {
    edge: Edge<'a>,
    /// The local state that acted, if it was about one.
    actor: (Local, Count),
    /// Where it leads: two ways where one left many, who may have been two or more.
    after: &'a [Crowd],
}

/// Calls `visit` with every step of a crowd, stutters included.
fn for_each_step(crowd: &Crowd, relation: &Relation<'_>, visit: &mut dyn FnMut(Seen<'_>)) {
    let mut history = Vec::new();
    for (kind, &(local, count)) in crowd.members.iter().enumerate() {
        for mut stage in Stage::all(crowd, kind) {
            let acting = stage.actor;
            local.stand_ins(crowd.group, &mut |actor| {
                stage.world.jobs[acting] = actor;
                let stage = &stage;
                relation(&stage.world, acting, &mut |made, next, output| {
                    let changed = next.changed();
                    history.clone_from(&stage.history);
                    if let Some(output) = output {
                        history[output.member()].note(output);
                    }
                    let mut after = Crowd::empty(local::of_group(&next));
                    let group = after.group;
                    let local_at =
                        |member: usize| Local::of(&next.jobs[member], history[member], group);
                    after.add(local_at(acting), Count::One);
                    let mut left = None;
                    for (at, places) in stage.others.iter().enumerate() {
                        let [Some(first), second] = *places else {
                            continue;
                        };
                        let became = local_at(first);
                        assert!(
                            second.is_none_or(|second| became == local_at(second)),
                            "a step treats equal members alike: {}",
                            made.describe(output)
                        );
                        if at == kind {
                            left = Some(became);
                        } else {
                            after.add(became, crowd.members[at].1);
                        }
                    }
                    let after: &[Crowd] = &match left {
                        None => vec![after],
                        Some(left) => {
                            let mut more = after.clone();
                            after.add(left, Count::One);
                            more.add(left, Count::Many);
                            if after == more {
                                vec![after]
                            } else {
                                vec![after, more]
                            }
                        }
                    };
                    visit(Seen {
                        edge: Edge {
                            before: stage.place(),
                            made,
                            output,
                            after: Place {
                                world: &next,
                                history: &history,
                                profile: PROFILE,
                            },
                            changed,
                        },
                        actor: (local, count),
                        after,
                    });
                });
            });
        }
    }
}

/// What the properties read of a step beside the worlds before and after it: who did what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Deed {
    /// The local state of the member it was done to.
    by: Option<Local>,
    /// What was seen, as if of member 0.
    what: Output,
}

impl Deed {
    /// What is left of an output that came from a step made here; `None` if no property of groups
    /// reads it.
    pub fn of(world: &World, history: &[History], output: Option<Output>) -> Option<Deed> {
        let output = output?;
        let member = output.member();
        let what = match output {
            Output::Status(_, status) => match status {
                Status::Created
                | Status::Waiting
                | Status::Pending
                | Status::Aborting
                | Status::Concluded => Output::Status(0, status),
                Status::Null if world.jobs[member].status != Status::Concluded => {
                    Output::Status(0, status)
                }
                Status::Undefined
                | Status::Running
                | Status::Paused
                | Status::Ready
                | Status::Standby
                | Status::Null => return None,
            },
            Output::Event(_, event) => match event {
                Event::Completed { .. } | Event::Cancelled => Output::Event(0, event),
                Event::Ready | Event::Pending | Event::Error { .. } => return None,
            },
            Output::Begin(_, callback) if of_the_end(callback) => Output::Begin(0, callback),
            Output::End(_, callback, well) if of_the_end(callback) => {
                Output::End(0, callback, well)
            }
            Output::Begin(..)
            | Output::End(..)
            | Output::PointBegin(_)
            | Output::PointEnd(_)
            | Output::IoBegin(_)
            | Output::IoEnd(_) => return None,
        };
        Some(Deed {
            by: Local::of(&world.jobs[member], history[member], world.group),
            what,
        })
    }
}

/// A callback by which a member comes to its end.
const fn of_the_end(callback: Callback) -> bool {
    match callback {
        Callback::Prepare
        | Callback::Commit
        | Callback::Abort
        | Callback::Clean
        | Callback::Completion => true,
        Callback::Run
        | Callback::Pause
        | Callback::Resume
        | Callback::Cancel
        | Callback::UserResume
        | Callback::Complete
        | Callback::SetSpeed
        | Callback::Drain
        | Callback::DrainedPoll
        | Callback::AttachedContext
        | Callback::Free => false,
    }
}

/// Every step of a crowd: what is done, and what the crowd becomes. Those that do nothing and leave
/// it as it is are left out.
pub fn successors(crowd: &Crowd, relation: &Relation<'_>) -> Vec<(Option<Deed>, Crowd)> {
    let mut all = Vec::new();
    for_each_step(crowd, relation, &mut |seen| {
        let Edge { before, output, .. } = seen.edge;
        let deed = Deed::of(before.world, before.history, output);
        for after in seen.after {
            if deed.is_some() || after != crowd {
                let step = (deed, after.clone());
                if !all.contains(&step) {
                    all.push(step);
                }
            }
        }
    });
    all
}

/// The numbers of the properties that speak of what a local state keeps.
const PROPERTIES: [&str; 13] = [
    "P8", "P9", "P10", "P11", "P12", "P13", "P14", "P15", "P16", "P24", "P31", "P48", "CLOSED",
];

/// Every property that can be answered for any number of jobs.
pub fn properties() -> Vec<Property> {
    PROPERTIES
        .iter()
        .filter_map(|id| Property::by_id(id).copied())
        .collect()
}

/// Those of [`properties`] with these numbers, in whatever case.
pub fn only<'a>(ids: impl IntoIterator<Item = &'a str>) -> Result<Vec<Property>, NotForAnyNumber> {
    let all = properties();
    ids.into_iter()
        .map(|id| {
            let mut named = all.iter();
            named
                .find(|property| property.id.eq_ignore_ascii_case(id))
                .copied()
                .ok_or_else(|| NotForAnyNumber(id.to_owned()))
        })
        .collect()
}

/// No property with this number can be answered for any number of jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotForAnyNumber(pub String);

impl fmt::Display for NotForAnyNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "no property `{}` for any number of jobs; there are {}",
            self.0,
            PROPERTIES.join(", ")
        )
    }
}

impl std::error::Error for NotForAnyNumber {}

/// What a search over every crowd came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// Crowds met.
    pub states: u64,
    /// Steps from one crowd to another.
    pub transitions: u64,
    /// The longest of the shortest ways to a crowd.
    pub depth: u32,
    /// Wall-clock seconds; the caller's to fill in, the search knows no clock.
    pub seconds: f64,
    /// One entry a property.
    pub properties: Vec<PropertyReport>,
}

impl Report {
    /// Every property held.
    pub fn held(&self) -> bool {
        self.properties.iter().all(|property| property.held)
    }
}

/// Meets every crowd, and checks these properties; ends early once none of them is left that held.
///
/// `progress` is called every few thousand crowds.
pub fn run(properties: &[Property], mut progress: impl FnMut(Progress)) -> Report {
    run_over(properties, &moves, &mut progress)
}

/// The same with this relation.
pub fn run_over(
    properties: &[Property],
    relation: &Relation<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Report {
    let mut search = Search {
        properties,
        relation,
        numbers: FastMap::default(),
        crowds: Vec::new(),
        parents: Vec::new(),
        transitions: 0,
        found: vec![None; properties.len()],
    };
    let depth = search.run(progress);
    let reports = properties.iter().zip(search.found);
    Report {
        states: search.crowds.len() as u64,
        transitions: search.transitions,
        depth,
        seconds: 0.0,
        properties: reports
            .map(|(property, counterexample)| PropertyReport {
                id: property.id,
                name: property.name,
                sentence: property.sentence,
                held: counterexample.is_none(),
                bound: BOUND.to_owned(),
                counterexample,
            })
            .collect(),
    }
}

struct Search<'a> {
    properties: &'a [Property],
    relation: &'a Relation<'a>,
    numbers: FastMap<Crowd, u32>,
    crowds: Vec<Crowd>,
    /// From which crowd each was first reached; the first ones point to themselves.
    parents: Vec<u32>,
    transitions: u64,
    /// The shortest counterexample to each property.
    found: Vec<Option<Vec<String>>>,
}

impl Search<'_> {
    /// Breadth first, to the end or until there is nothing left to check; how deep that is.
    fn run(&mut self, progress: &mut dyn FnMut(Progress)) -> u32 {
        for crowd in Crowd::beginnings() {
            let number = self.crowds.len();
            self.meet(&crowd, number);
        }
        let (mut depth, mut number, mut level_end) = (0, 0, self.crowds.len());
        while number < self.crowds.len() && self.found.iter().any(Option::is_none) {
            if number == level_end {
                depth += 1;
                level_end = self.crowds.len();
            }
            if number.is_multiple_of(4096) {
                progress(Progress {
                    states: self.crowds.len() as u64,
                    open: (self.crowds.len() - number) as u64,
                    depth,
                });
            }
            self.expand(number);
            number += 1;
        }
        depth
    }

    /// The number of a crowd, a new one if it was not met before.
    fn meet(&mut self, crowd: &Crowd, parent: usize) -> usize {
        if let Some(&number) = self.numbers.get(crowd) {
            return number as usize;
        }
        let number = self.crowds.len();
        self.parents.push(parent as u32);
        self.numbers.insert(crowd.clone(), number as u32);
        self.crowds.push(crowd.clone());
        number
    }

    fn expand(&mut self, number: usize) {
        let crowd = self.crowds[number].clone();
        let mut led_to = Vec::new();
        let stage = Stage::still(&crowd);
        for at in 0..self.properties.len() {
            if let Check::World(holds) = self.properties[at].check
                && self.found[at].is_none()
                && !holds(&stage.place())
            {
                self.find(at, number, None);
            }
        }
        for_each_step(&crowd, self.relation, &mut |seen| {
            for at in 0..self.properties.len() {
                let holds = match self.properties[at].check {
                    Check::World(holds) => holds(&seen.edge.after),
                    Check::Edge(holds) => holds(&seen.edge),
                };
                if !holds && self.found[at].is_none() {
                    self.find(at, number, Some(line(&seen)));
                }
            }
            for after in seen.after {
                let reached = self.meet(after, number);
                if reached != number && !led_to.contains(&reached) {
                    led_to.push(reached);
                }
            }
        });
        self.transitions += led_to.len() as u64;
    }

    /// Keeps the way to a crowd and the step made there as a counterexample.
    fn find(&mut self, at: usize, number: usize, last: Option<String>) {
        let mut way = vec![number];
        let mut here = number;
        while self.parents[here] as usize != here {
            here = self.parents[here] as usize;
            way.push(here);
        }
        way.reverse();
        let mut story = vec![format!("with {}", self.crowds[here].words())];
        story.extend(
            way.windows(2)
                .map(|pair| self.step_between(pair[0], pair[1])),
        );
        let members = self.crowds[number].words();
        match (last, story.last_mut()) {
            (Some(last), _) => story.push(format!("{last} (before: {members})")),
            (None, Some(line)) => *line = format!("{line} (now: {members})"),
            (None, None) => {}
        }
        self.found[at] = Some(story);
    }

    /// The step that led from one crowd met to another.
    fn step_between(&self, from: usize, to: usize) -> String {
        let mut name = None;
        for_each_step(&self.crowds[from], self.relation, &mut |seen| {
            if name.is_none() && seen.after.contains(&self.crowds[to]) {
                name = Some(line(&seen));
            }
        });
        name.unwrap_or_default()
    }
}

/// A step in words.
fn line(seen: &Seen<'_>) -> String {
    let (local, count) = &seen.actor;
    let number = match count {
        Count::One => "the one",
        Count::Many => "one of many",
    };
    let who = format!("{number} {}", local.words());
    let shown = match seen.edge.output {
        Some(output) => format!(" → {output}"),
        None => String::new(),
    };
    match seen.edge.made {
        Move::Ask(_, request) => format!("{who}: {request} is asked{shown}"),
        Move::Answer(request, _) => format!("{request} is answered"),
        Move::Step(step) => match step.words() {
            (Some(_), what) => format!("{who}: {what}{shown}"),
            (None, what) => format!("{what}{shown}"),
        },
    }
}
