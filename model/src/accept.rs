//! The acceptor: judges observed behaviour by the step relation.
//!
//! For every transaction it keeps a belief, the set of worlds that explain what was seen
//! (`belief`). An observation nobody can explain empties it: the trace is rejected, with what
//! would have been allowed (`explain`). Calls under way are part of the worlds, so a history of
//! concurrent calls and returns is judged by the same rules as a sequential one: a request takes
//! effect at some moment between its call and its return.
//!
//! Memory is bounded by live jobs, not by the length of the trace. Where the worlds of a large
//! transaction would become too many, it is widened: its members are judged one by one and
//! [`Acceptor::widened`] counts it. A widened verdict can miss a fault, never invent one.

mod belief;
mod call;
mod explain;
mod rejection;
mod resume;
mod thin;
mod ways;
mod widen;

use crate::hash::FastMap;
use crate::profile::Profile;
use crate::state::{Group, JobSpec};
use crate::status::Status;
use crate::step::{Output, View};
use crate::vocabulary::{Callback, Event, Request};

pub use belief::SightPattern;
use belief::{BeliefId, Pool, Specs, Symbol, TooLarge};
pub use rejection::Rejection;
use thin::Path;
use ways::Ways;

/// A transaction under judgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupKey(u32);

/// A job under judgement. An id used again is another job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobKey(u32);

/// Something seen of one job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Seen {
    /// Its status changed.
    Status(Status),
    /// An event.
    Event(Event),
    /// A callback begins.
    Begin(Callback),
    /// A callback ends; `false` = with an error (for `cancel`: not forced).
    End(Callback, bool),
    /// The driver enters a pause point.
    PointBegin,
    /// The pause point returns to the driver.
    PointEnd,
    /// A piece of I/O begins.
    IoBegin,
    /// A piece of I/O ends.
    IoEnd,
}

impl Seen {
    const fn of(self, member: usize) -> Output {
        match self {
            Seen::Status(status) => Output::Status(member, status),
            Seen::Event(event) => Output::Event(member, event),
            Seen::Begin(callback) => Output::Begin(member, callback),
            Seen::End(callback, well) => Output::End(member, callback, well),
            Seen::PointBegin => Output::PointBegin(member),
            Seen::PointEnd => Output::PointEnd(member),
            Seen::IoBegin => Output::IoBegin(member),
            Seen::IoEnd => Output::IoEnd(member),
        }
    }
}

struct Track {
    key: GroupKey,
    members: Vec<JobKey>,
    belief: BeliefId,
    /// What a thin acceptor has in place of it.
    path: Option<Path>,
}

struct JobTrack {
    group: GroupKey,
    member: u16,
    id: String,
}

struct CallTrack {
    slot: u16,
    groups: Vec<GroupKey>,
    request: Request,
    /// It came through a command for block jobs.
    block: bool,
    /// It concerns every job, those created meanwhile too.
    all: bool,
    /// It is for a job that was gone before it came: nobody is there to answer it.
    gone: bool,
}

/// Judges one trace.
pub struct Acceptor {
    profile: &'static Profile,
    pool: Pool,
    groups: FastMap<u32, Track>,
    /// Transactions that were widened, and the parts their members are judged as since.
    parts: FastMap<u32, Vec<GroupKey>>,
    jobs: FastMap<u32, JobTrack>,
    calls: FastMap<u16, CallTrack>,
    slots: Vec<bool>,
    next_group: u32,
    next_job: u32,
    /// The main-loop callback under way (P27).
    main_in: Option<(JobKey, Callback)>,
    /// One bit for each drained section of every job that has begun: whoever is created holds to
    /// it, also in a transaction that comes later (35).
    drained: u8,
    widened: u64,
    /// It keeps one explanation, not all.
    thin: bool,
    ways: Ways,
    /// The memory of paths that are over.
    paths: Vec<Path>,
    /// The memory of lists of groups, which no longer are.
    lists: Vec<Vec<GroupKey>>,
}

impl Acceptor {
    /// An acceptor for one trace of an implementation of `profile`, as seen through `view`.
    pub fn new(profile: &'static Profile, view: View) -> Acceptor {
        Acceptor {
            profile,
            pool: Pool::new(profile, view),
            groups: FastMap::default(),
            parts: FastMap::default(),
            jobs: FastMap::default(),
            calls: FastMap::default(),
            slots: Vec::new(),
            next_group: 0,
            next_job: 0,
            main_in: None,
            drained: 0,
            widened: 0,
            thin: false,
            ways: Ways::new(),
            paths: Vec::new(),
            lists: Vec::new(),
        }
    }

    /// The same, thin: it keeps one explanation of what it was shown, and takes it back for another
    /// when it has to. That is far cheaper where traces are seldom alike. What it takes, any acceptor
    /// takes; what it does not take has to be shown to one that is not thin, and its reasons mean
    /// nothing.
    pub fn thin(profile: &'static Profile, view: View) -> Acceptor {
        Acceptor {
            thin: true,
            ..Acceptor::new(profile, view)
        }
    }

    /// Begins another trace. What was found out about the specification on the way stays, so that
    /// judging many short traces of the same jobs costs one look-up an observation.
    pub fn restart(&mut self) {
        let over = self.groups.drain().filter_map(|(_, track)| track.path);
        self.paths.extend(over);
        self.parts.clear();
        self.jobs.clear();
        self.calls.clear();
        self.slots.clear();
        self.next_group = 0;
        self.next_job = 0;
        self.main_in = None;
        self.drained = 0;
        self.widened = 0;
    }

    /// The profile it judges by.
    pub fn profile(&self) -> &'static Profile {
        self.profile
    }

    /// How often a transaction had too many possible worlds and was widened.
    pub fn widened(&self) -> u64 {
        self.widened
    }

    /// How many jobs are neither gone nor forgotten.
    pub fn live_jobs(&self) -> usize {
        self.jobs.len()
    }

    /// Opens a transaction; `known` says what is unknown of it ([`Group::CLOSED`]: nothing).
    pub fn group(&mut self, known: Group) -> GroupKey {
        let key = GroupKey(self.next_group);
        self.next_group += 1;
        let drained = known.drained | self.drained;
        let known = Group { drained, ..known };
        let belief = self.pool.empty(known);
        let path = self.thin.then(|| match self.paths.pop() {
            Some(mut path) => {
                path.begin(known);
                path
            }
            None => Path::new(known),
        });
        self.groups.insert(
            key.0,
            Track {
                key,
                members: Vec::new(),
                belief,
                path,
            },
        );
        // A call for every job may reach this one too.
        let pending: Vec<(u16, Request, bool)> = self
            .calls
            .values_mut()
            .filter(|call| call.all)
            .map(|call| {
                call.groups.push(key);
                (call.slot, call.request, call.block)
            })
            .collect();
        for (slot, request, block) in pending {
            self.change(
                key,
                &Symbol::Call {
                    slot,
                    member: None,
                    request,
                    block,
                    maybe_over: !matches!(request, Request::Query | Request::DrainBegin { .. }),
                },
            );
        }
        key
    }

    /// Adds a job to a transaction. It has one of `specs`; which, is found out. It is not in
    /// being until its status `created` is seen.
    ///
    /// # Panics
    /// If `group` is not one of this acceptor's, or `specs` is empty.
    pub fn job(&mut self, group: GroupKey, specs: &[JobSpec], id: &str) -> JobKey {
        assert!(!specs.is_empty(), "a job has a spec");
        let key = JobKey(self.next_job);
        self.next_job += 1;
        let join = Symbol::Join(Specs::of(specs));
        self.change(group, &join);
        let group = if self.groups.contains_key(&group.0) {
            group
        } else {
            let part = self.part_of(group);
            self.change(part, &join);
            part
        };
        let track = self
            .groups
            .get_mut(&group.0)
            .expect("a group of this acceptor");
        track.members.push(key);
        let member = track.members.len() as u16 - 1;
        self.jobs.insert(
            key.0,
            JobTrack {
                group,
                member,
                id: id.to_owned(),
            },
        );
        key
    }

    /// One more part of a transaction that was widened.
    fn part_of(&mut self, group: GroupKey) -> GroupKey {
        let mut parts = self.parts.remove(&group.0).unwrap_or_default();
        let worlds = parts
            .iter()
            .filter_map(|part| self.groups.get(&part.0))
            .map(|track| self.pool.worlds(track.belief));
        let others = worlds
            .flat_map(|worlds| worlds.iter())
            .any(|world| world.group.others);
        let part = self.group(Group {
            open: true,
            others,
            ..Group::CLOSED
        });
        parts.push(part);
        self.parts.insert(group.0, parts);
        part
    }

    /// It is found out that the job has one of `specs`; `false`: it cannot, and nothing changes.
    pub fn narrow(&mut self, job: JobKey, specs: &[JobSpec]) -> bool {
        let narrow = |member| Symbol::Narrow(member, Specs::of(specs));
        self.place(job)
            .is_none_or(|(group, member)| self.change(group, &narrow(member)))
    }

    /// The command that creates the job also starts it: `created` and `running` may come.
    pub fn start(&mut self, job: JobKey) {
        if let Some((group, member)) = self.place(job) {
            self.change(group, &Symbol::Start(member));
        }
    }

    /// The command that creates and starts the job succeeded, where no event says so.
    pub fn began(&mut self, job: JobKey) {
        if let Some((group, member)) = self.place(job) {
            self.change(group, &Symbol::Began(member));
        }
    }

    /// The job is gone, where no event says so: it announced its end and dismisses itself.
    pub fn vanished(&mut self, job: JobKey) {
        if let Some((group, member)) = self.place(job) {
            self.change(group, &Symbol::Vanished(member));
            self.sweep(group);
        }
    }

    /// The job did not come into being: its creation was refused before `created`, or where no
    /// event says so.
    pub fn never(&mut self, job: JobKey) {
        if let Some((group, member)) = self.place(job) {
            self.change(group, &Symbol::Never(member));
            self.sweep(group);
        }
    }

    /// From now on somebody unseen may send requests for the job.
    pub fn others(&mut self, job: JobKey) {
        if let Some((group, _)) = self.place(job) {
            self.change(group, &Symbol::Others);
        }
    }

    /// From now on somebody unseen may send requests for every job there is.
    pub fn others_everywhere(&mut self) {
        let groups: Vec<GroupKey> = self.groups.values().map(|track| track.key).collect();
        for group in groups {
            self.change(group, &Symbol::Others);
        }
    }

    /// Something was seen of a job.
    ///
    /// # Errors
    /// Nothing explains it. The belief stays as it was before.
    pub fn observe(&mut self, job: JobKey, seen: Seen) -> Result<(), Rejection> {
        self.one_callback_at_a_time(job, seen)?;
        let Some((group, member)) = self.place(job) else {
            return Err(explain::gone(seen));
        };
        let output = seen.of(usize::from(member));
        let before = self.belief(group);
        if self.change(group, &Symbol::See(output)) {
            match seen {
                Seen::Begin(callback) if callback.on_main_loop() => {
                    self.main_in = Some((job, callback));
                }
                Seen::End(callback, _) if self.main_in == Some((job, callback)) => {
                    self.main_in = None;
                }
                _ => {}
            }
            self.sweep(group);
            Ok(())
        } else if self.thin {
            Err(explain::nothing_found())
        } else {
            let ids = self.ids(group);
            Err(explain::seen(
                self.pool.worlds(before),
                &self.pool.visible(before),
                &ids,
                output,
            ))
        }
    }

    /// P27: the main loop runs one callback at a time.
    fn one_callback_at_a_time(&self, job: JobKey, seen: Seen) -> Result<(), Rejection> {
        match (seen, self.main_in) {
            (Seen::Begin(callback), Some((other, running))) if callback.on_main_loop() => Err(
                explain::overlap(self.id(job), callback, self.id(other), running),
            ),
            _ => Ok(()),
        }
    }

    /// The trace is complete: nothing was left undone.
    ///
    /// # Errors
    /// A job is not final, or a call did not return.
    pub fn finish(&self) -> Result<(), Rejection> {
        let mut keys: Vec<&u32> = self.groups.keys().collect();
        keys.sort_unstable();
        for key in keys {
            let track = &self.groups[key];
            let worlds = self.pool.worlds(track.belief);
            let over = match &track.path {
                Some(path) => self.pool.may_be_over(path.now()),
                None => worlds.iter().any(|world| self.pool.over(world)),
            };
            if !over && self.thin {
                return Err(explain::nothing_found());
            }
            if !over {
                return Err(explain::unfinished(worlds, &self.ids(track.key)));
            }
        }
        // A call on a job that was gone before is in no group's worlds.
        if self.calls.is_empty() {
            Ok(())
        } else {
            Err(explain::unfinished(&[], &[]))
        }
    }

    /// Everything that may be seen next, in words: what jobs may do, and what calls under way may be
    /// answered.
    pub fn allowed(&self) -> Vec<String> {
        let mut allowed = Vec::new();
        for track in self.groups.values() {
            let ids = self.ids(track.key);
            let visible = self.pool.visible(track.belief);
            allowed.extend(explain::next(
                self.pool.worlds(track.belief),
                &visible,
                &ids,
            ));
        }
        allowed.sort_unstable();
        allowed.dedup();
        allowed
    }

    /// The statuses a job may have now; empty for a job that is gone. As long as a thin acceptor keeps one
    /// explanation, it says the status in that one alone.
    pub fn statuses(&self, job: JobKey) -> Vec<Status> {
        let Some((group, member)) = self.place(job) else {
            return Vec::new();
        };
        let track = &self.groups[&group.0];
        let worlds = match &track.path {
            Some(path) => std::slice::from_ref(path.now()),
            None => self.pool.worlds(track.belief),
        };
        let mut statuses: Vec<Status> = worlds
            .iter()
            .filter_map(|world| Some(world.jobs.get(usize::from(member))?.status))
            .collect();
        statuses.sort_unstable();
        statuses.dedup();
        statuses
    }

    /// Whether the job is certainly gone: its status is `null`, or it never was. Of a thin acceptor, in the explanation
    /// it keeps.
    pub fn gone(&self, job: JobKey) -> bool {
        self.statuses(job)
            .iter()
            .all(|&status| status == Status::Null)
    }

    fn place(&self, job: JobKey) -> Option<(GroupKey, u16)> {
        self.jobs
            .get(&job.0)
            .map(|track| (track.group, track.member))
    }

    fn id(&self, job: JobKey) -> &str {
        self.jobs.get(&job.0).map_or("?", |track| &track.id)
    }

    fn ids(&self, group: GroupKey) -> Vec<&str> {
        self.groups
            .get(&group.0)
            .map(|track| track.members.iter().map(|&job| self.id(job)).collect())
            .unwrap_or_default()
    }

    fn belief(&self, group: GroupKey) -> BeliefId {
        self.groups[&group.0].belief
    }

    /// Changes what is believed of a group; `false` where nothing explains the symbol.
    fn change(&mut self, group: GroupKey, symbol: &Symbol) -> bool {
        let Some(track) = self.groups.get_mut(&group.0) else {
            return true;
        };
        if let Some(path) = &mut track.path {
            return match path.advance(&self.pool, &mut self.ways, symbol) {
                Ok(()) => true,
                Err(symbols) => self.thicken(group, &symbols),
            };
        }
        match self.pool.advance(track.belief, symbol) {
            Ok(Some(belief)) => {
                if let Some(track) = self.groups.get_mut(&group.0) {
                    track.belief = belief;
                }
                self.pool
                    .trim(self.groups.values_mut().map(|track| &mut track.belief));
                true
            }
            Ok(None) => false,
            Err(TooLarge) => self.widen(group, symbol),
        }
    }

    /// Holds a transaction of which no explanation was found against whole beliefs: all it has shown so far,
    /// and what comes. `false` where nothing explains that, or too much does.
    fn thicken(&mut self, group: GroupKey, symbols: &[Symbol]) -> bool {
        let Some(track) = self.groups.get_mut(&group.0) else {
            return true;
        };
        self.paths.extend(track.path.take());
        for symbol in symbols {
            match self.pool.advance(track.belief, symbol) {
                Ok(Some(belief)) => track.belief = belief,
                Ok(None) | Err(TooLarge) => return false,
            }
        }
        self.pool
            .trim(self.groups.values_mut().map(|track| &mut track.belief));
        true
    }

    /// Forgets a group of which nothing can come any more.
    fn sweep(&mut self, group: GroupKey) {
        let over = self
            .groups
            .get(&group.0)
            .is_some_and(|track| !track.members.is_empty() && self.all_gone(track));
        if over && let Some(track) = self.groups.remove(&group.0) {
            for job in track.members {
                self.jobs.remove(&job.0);
            }
            self.paths.extend(track.path);
            let groups = &self.groups;
            self.parts
                .retain(|_, parts| parts.iter().any(|part| groups.contains_key(&part.0)));
        }
    }

    /// Every member is `null` and no call is under way.
    fn all_gone(&self, track: &Track) -> bool {
        if let Some(path) = &track.path {
            let world = path.now();
            return self.pool.over(world)
                && world.jobs.iter().all(|job| job.status == Status::Null);
        }
        self.pool.is_over(track.belief)
            && self
                .pool
                .worlds(track.belief)
                .iter()
                .all(|world| world.jobs.iter().all(|job| job.status == Status::Null))
    }
}
