//! Programs, made up as they go: the next operation is one that shows what has not been seen yet.
//!
//! A program is a few jobs, then verbs. Which jobs is chosen by what they could show of the tables; which verb by
//! what has not been seen of the statuses that the jobs have right now. Behind an operation that must lead
//! somewhere, the program waits until it has: so pauses and cancels come when a job is in a status, not at a time.
//! Now and then it does not wait, and asks at once for the next thing.
//!
//! What is chosen depends on the seed and on what was seen before, by this peer and those beside it. A program that
//! was made is literal; it can be run again by itself.

use std::collections::BTreeSet;

use blockjob_model::{Profile, Status, Verb};
use serde_json::json;

use super::conversation::{Answer, Conversation, Trouble};
use super::cover::{Cover, verbs};
use super::image::Image;
use super::program::{Program, Step};
use super::recipe::{Fault, Kind, Plan};

/// A sequence that a seed determines (`SplitMix64`).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// A sequence.
    pub const fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// The next number.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// True so many times in a hundred.
    fn percent(&mut self, times: u64) -> bool {
        self.below(100) < times
    }

    fn choose<T: Copy>(&mut self, weighted: &[(T, u64)]) -> Option<T> {
        let total: u64 = weighted.iter().map(|(_, weight)| weight).sum();
        let mut at = self.below(total);
        weighted.iter().find_map(|(one, weight)| {
            if at < *weight {
                return Some(*one);
            }
            at -= weight;
            None
        })
    }
}

/// What a peer can do.
#[derive(Clone, Debug)]
pub struct Abilities {
    /// The commands that it has.
    pub commands: BTreeSet<String>,
    /// It has nodes that fail when asked to.
    pub faults: bool,
}

impl Abilities {
    fn has(&self, command: &str) -> bool {
        self.commands.contains(command)
    }
}

/// Deviations that cost a peer are known, and shown once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provocation {
    /// None.
    None,
    /// A grouped transaction that fails behind two jobs.
    GroupAbort,
    /// `job-complete` twice in standby, of a mirror with `replaces`.
    TwoCompletes,
}

/// A job of the program under way.
struct Job {
    plan: Plan,
    /// The user has paused it, as far as the answers tell.
    paused: bool,
    /// It was asked to finish.
    finishing: bool,
    /// Its speed is no more what keeps it.
    hurried: bool,
    /// With others in one transaction.
    grouped: bool,
    /// There was an error that may have stopped it, or may yet.
    may_stop: bool,
}

/// A program under way.
pub struct Maker<'a> {
    dice: Dice,
    abilities: &'a Abilities,
    profile: &'static Profile,
    program: Program,
    jobs: Vec<Job>,
    next: usize,
    provoke: Provocation,
}

/// What a program begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opening {
    Single(Kind),
    Grouped,
    Individual,
    FailingGroup,
    BadSpeed,
    LatePause,
}

impl<'a> Maker<'a> {
    /// A program of this seed for a peer that can do so much.
    pub fn new(
        seed: u64,
        abilities: &'a Abilities,
        profile: &'static Profile,
        provoke: Provocation,
    ) -> Maker<'a> {
        Maker {
            dice: Dice::new(seed),
            abilities,
            profile,
            program: Program::default(),
            jobs: Vec::new(),
            next: 0,
            provoke,
        }
    }

    /// Makes the program and runs it, up to `commands` commands after its nodes. `seen` is what others saw.
    /// What was made is there also when it ends early.
    pub fn play(
        &mut self,
        conversation: &mut Conversation<'_>,
        commands: usize,
        seen: &Cover,
        folder: &std::path::Path,
    ) -> Result<(), Trouble> {
        let wanted = |conversation: &Conversation<'_>| {
            let mut cover = seen.clone();
            cover.add(&conversation.cover);
            cover
        };
        self.step(conversation, Step::send("query-jobs", json!({})))?;
        self.open(conversation, &wanted(conversation), folder)?;
        let begun = self.program.commands();
        while self.program.commands() < begun + commands {
            let cover = wanted(conversation);
            let here: Vec<(String, Status)> = conversation
                .jobs()
                .map(|(id, status)| (id.to_owned(), status))
                .collect();
            if here.is_empty() {
                // Three openings are a program, whatever the number of its commands.
                if self.next > 6 || self.dice.percent(30) {
                    break;
                }
                self.open(conversation, &cover, folder)?;
            } else if self.dice.percent(6) {
                self.look(conversation)?;
            } else if self.next < 5 && self.dice.percent(4) {
                self.open(conversation, &cover, folder)?;
            } else {
                self.verb(conversation, &cover, &here)?;
            }
        }
        Ok(())
    }

    /// The program so far.
    pub fn program(&self) -> &Program {
        &self.program
    }

    fn step(&mut self, conversation: &mut Conversation<'_>, step: Step) -> Result<(), Trouble> {
        let result = conversation.step(&step, Some(self.program.steps.len()));
        self.program.steps.push(step);
        result
    }

    /// Asks what there is.
    fn look(&mut self, conversation: &mut Conversation<'_>) -> Result<(), Trouble> {
        let name = if self.dice.percent(50) {
            "query-jobs"
        } else {
            "query-block-jobs"
        };
        self.step(conversation, Step::send(name, json!({})))
    }

    /// Makes a job, or several.
    fn open(
        &mut self,
        conversation: &mut Conversation<'_>,
        cover: &Cover,
        folder: &std::path::Path,
    ) -> Result<(), Trouble> {
        match self.provoke {
            Provocation::None => {}
            Provocation::GroupAbort => {
                self.provoke = Provocation::None;
                return self.group(conversation, folder, Opening::FailingGroup, 2);
            }
            Provocation::TwoCompletes => {
                self.provoke = Provocation::None;
                return self.two_completes(conversation, folder);
            }
        }
        let opening = self.opening(cover);
        match opening {
            Some(Opening::Single(kind)) => {
                let plan = self.plan(kind, cover);
                self.single(conversation, folder, plan)
            }
            Some(Opening::BadSpeed) => {
                let mut plan = self.plan(Kind::Backup, cover);
                plan.bad_speed = true;
                self.single(conversation, folder, plan)
            }
            Some(Opening::LatePause) => self.late_pause(conversation, folder),
            Some(group) => self.group(conversation, folder, group, 1),
            None => Ok(()),
        }
    }

    /// What could show most of what was not seen yet.
    fn opening(&mut self, cover: &Cover) -> Option<Opening> {
        let missing = |status: Status| {
            let all = verbs(self.profile);
            all.filter(|verb| cover.times(*verb, status) == 0).count() as u64
        };
        let edge = |from, to| u64::from(cover.moves(from, to) == 0);
        let mut all = Vec::new();
        for kind in Kind::ALL {
            if !self.abilities.has(kind.command()) {
                continue;
            }
            let common =
                missing(Status::Running) + missing(Status::Paused) + missing(Status::Pending);
            let wanted = match kind {
                Kind::Mirror => common + 3 * (missing(Status::Ready) + missing(Status::Standby)),
                Kind::ActiveCommit => common + missing(Status::Ready) + missing(Status::Standby),
                Kind::Create => missing(Status::Concluded),
                Kind::Backup => common + missing(Status::Concluded),
                Kind::Stream | Kind::Commit => common,
            };
            all.push((Opening::Single(kind), 4 + wanted));
        }
        if self.abilities.has("transaction") && self.abilities.has("blockdev-backup") {
            let waiting = 4 * missing(Status::Waiting);
            all.push((
                Opening::Grouped,
                6 + waiting + 10 * edge(Status::Waiting, Status::Aborting),
            ));
            all.push((Opening::Individual, 2));
            all.push((
                Opening::FailingGroup,
                1 + 10 * edge(Status::Created, Status::Aborting),
            ));
        }
        if self.abilities.has("blockdev-backup") {
            all.push((
                Opening::BadSpeed,
                1 + 10 * edge(Status::Created, Status::Null),
            ));
        }
        if self.abilities.faults
            && self.abilities.has("block-stream")
            && self.abilities.has("object-add")
        {
            let late = |status| u64::from(cover.times(Verb::Resume, status) == 0);
            all.push((
                Opening::LatePause,
                1 + 20 * (late(Status::Pending) + late(Status::Concluded)),
            ));
        }
        self.dice.choose(&all)
    }

    fn plan(&mut self, kind: Kind, cover: &Cover) -> Plan {
        let block = kind != Kind::Create;
        let fault = (self.abilities.faults || !block) && self.dice.percent(20);
        let fault = fault.then(|| Fault {
            write: !matches!(kind, Kind::Stream) && self.dice.percent(50),
            no_space: self.dice.percent(40),
            once: self.dice.percent(60),
        });
        let mut on_error = *["report", "stop", "enospc", "ignore"]
            .get(self.dice.below(4) as usize)
            .unwrap_or(&"report");
        // Ignored for ever is retried for ever.
        if on_error == "ignore" && fault.is_some_and(|fault| !fault.once) {
            on_error = "report";
        }
        let rare = verbs(self.profile).any(|verb| cover.times(verb, Status::Pending) == 0);
        let manual = if rare { 50 } else { 30 };
        let id = format!("j{}", self.next);
        self.next += 1;
        Plan {
            id,
            kind,
            slow: block && fault.is_none() && self.dice.percent(50),
            small: block && self.dice.percent(25),
            manual_finalize: block && self.dice.percent(manual),
            manual_dismiss: !block || self.dice.percent(manual),
            fault,
            on_error,
            bad_speed: false,
            replaces: false,
        }
    }

    fn make(&mut self, plan: &Plan, folder: &std::path::Path) -> Vec<Step> {
        let mut steps = Vec::new();
        let before = self.program.files.clone();
        plan.prepare(&mut self.program.files, &mut steps);
        for (name, image) in &self.program.files {
            if !before.contains_key(name) {
                // An image that cannot be made is one that cannot be opened, which the peer will say.
                let _ = image.make(&folder.join(name));
            }
        }
        steps
    }

    fn single(
        &mut self,
        conversation: &mut Conversation<'_>,
        folder: &std::path::Path,
        plan: Plan,
    ) -> Result<(), Trouble> {
        for step in self.make(&plan, folder) {
            self.step(conversation, step)?;
        }
        let create = Step::send(plan.kind.command(), plan.arguments());
        self.step(conversation, create)?;
        let made = conversation
            .last_answer()
            .is_some_and(|answer| answer.error.is_none());
        if made {
            self.joined(plan, false);
            self.settle(conversation, self.jobs.len() - 1)?;
        }
        Ok(())
    }

    fn joined(&mut self, plan: Plan, grouped: bool) {
        self.jobs.push(Job {
            may_stop: plan.fault.is_some() && matches!(plan.on_error, "stop" | "enospc"),
            hurried: !plan.slow,
            plan,
            paused: false,
            finishing: false,
            grouped,
        });
    }

    /// A transaction of backups; `failing` of them stand before what fails.
    fn group(
        &mut self,
        conversation: &mut Conversation<'_>,
        folder: &std::path::Path,
        opening: Opening,
        failing: usize,
    ) -> Result<(), Trouble> {
        let size = match opening {
            Opening::FailingGroup => failing,
            _ => 2 + usize::from(self.dice.percent(30)),
        };
        let mut plans = Vec::new();
        for place in 0..size {
            let mut plan = self.plan(Kind::Backup, &Cover::default());
            // One is done while another is not: the one waits.
            if opening == Opening::Grouped {
                plan.slow = place == 0 && self.dice.percent(80);
                if plan.slow {
                    plan.fault = None;
                }
                plan.small |= !plan.slow;
            }
            plans.push(plan);
        }
        let mut actions = Vec::new();
        for plan in &plans {
            for step in self.make(plan, folder) {
                self.step(conversation, step)?;
            }
            actions.push(json!({"type": "blockdev-backup", "data": plan.arguments()}));
        }
        if opening == Opening::FailingGroup {
            actions.push(json!({"type": "blockdev-backup", "data":
                {"job-id": "jx", "device": "nowhere", "target": "nowhere", "sync": "full"}}));
        }
        let mode = if opening == Opening::Individual {
            "individual"
        } else {
            "grouped"
        };
        let command = Step::send(
            "transaction",
            json!({"actions": actions, "properties": {"completion-mode": mode}}),
        );
        self.step(conversation, command)?;
        let made = conversation
            .last_answer()
            .is_some_and(|answer| answer.error.is_none());
        if made {
            let from = self.jobs.len();
            for plan in plans {
                self.joined(plan, mode == "grouped");
            }
            for place in from..self.jobs.len() {
                self.settle(conversation, place)?;
            }
        }
        Ok(())
    }

    /// A stream whose last piece takes its time, so that a pause comes behind the last pause point.
    fn late_pause(
        &mut self,
        conversation: &mut Conversation<'_>,
        folder: &std::path::Path,
    ) -> Result<(), Trouble> {
        let number = self.next;
        let mut plan = self.plan(Kind::Stream, &Cover::default());
        plan.slow = false;
        plan.small = false;
        plan.fault = None;
        plan.manual_finalize = true;
        plan.manual_dismiss = true;
        let pieces = Image::Data { size: 1 << 20 };
        let overlay = Image::Overlay {
            size: 1 << 20,
            filled: false,
        };
        for (name, image) in [
            ("pieces.img".to_owned(), pieces),
            (format!("o{number}.qcow2"), overlay),
        ] {
            self.program.files.insert(name.clone(), image);
            let _ = image.make(&folder.join(name));
        }
        let group = format!("g{number}");
        let base = format!("b{number}");
        // The first of two pieces of 512 KiB passes at once; the second waits until the bucket, which holds a tenth
        // of a second's worth, has leaked.
        for (command, arguments) in [
            (
                "object-add",
                json!({"qom-type": "throttle-group", "id": group, "limits": {"bps-read": 2 << 20}}),
            ),
            (
                "blockdev-add",
                json!({"driver": "throttle", "node-name": base, "throttle-group": group, "read-only": true,
                    "file": {"driver": "file", "filename": "$DIR/pieces.img"}}),
            ),
            (
                "blockdev-add",
                json!({"driver": "qcow2", "node-name": format!("o{number}"), "backing": base,
                    "file": {"driver": "file", "filename": format!("$DIR/o{number}.qcow2")}}),
            ),
        ] {
            self.step(conversation, Step::send(command, arguments))?;
        }
        let create = Step::send(plan.kind.command(), plan.arguments());
        self.step(conversation, create)?;
        let id = plan.id.clone();
        self.joined(plan, false);
        self.step(conversation, Step::send("job-pause", json!({"id": id})))?;
        self.wait(conversation, &id, vec![Status::Paused, Status::Pending])?;
        self.resume_and_pause(conversation, &id)
    }

    fn two_completes(
        &mut self,
        conversation: &mut Conversation<'_>,
        folder: &std::path::Path,
    ) -> Result<(), Trouble> {
        let plan = Plan {
            id: "j0".to_owned(),
            kind: Kind::Mirror,
            slow: false,
            small: true,
            manual_finalize: false,
            manual_dismiss: false,
            fault: None,
            on_error: "report",
            bad_speed: false,
            replaces: true,
        };
        self.next += 1;
        self.single(conversation, folder, plan)?;
        let id = json!({"id": "j0"});
        self.step(conversation, Step::send("job-pause", id.clone()))?;
        self.wait(conversation, "j0", vec![Status::Standby])?;
        self.step(conversation, Step::send("job-complete", id.clone()))?;
        self.step(conversation, Step::send("job-complete", id))
    }

    fn wait(
        &mut self,
        conversation: &mut Conversation<'_>,
        job: &str,
        statuses: Vec<Status>,
    ) -> Result<(), Trouble> {
        let job = job.to_owned();
        self.step(conversation, Step::Await { job, statuses })
    }

    /// Waits until a job that nothing keeps is where it will stay, or does not wait.
    fn settle(&mut self, conversation: &mut Conversation<'_>, place: usize) -> Result<(), Trouble> {
        let patient = self.dice.percent(85);
        let others_slow = |job: &Job| {
            job.grouped
                && (self.jobs.iter().any(|other| {
                    other.grouped && (!other.hurried || other.paused || other.may_stop)
                }))
        };
        let job = &self.jobs[place];
        if !patient || !job.hurried || job.paused {
            return Ok(());
        }
        let mut due = vec![Status::Concluded, Status::Null];
        if job.plan.manual_finalize || job.grouped {
            due.push(Status::Pending);
        }
        if others_slow(job) {
            due.push(Status::Waiting);
        }
        if job.plan.kind.converges() && !job.finishing {
            due.push(Status::Ready);
        }
        if job.may_stop {
            due.extend([Status::Paused, Status::Standby]);
        }
        if job.plan.manual_dismiss {
            // It stays there, so that the end is not the only thing that is waited for.
            due.retain(|status| *status != Status::Null);
        } else {
            due.retain(|status| *status != Status::Concluded);
        }
        let id = job.plan.id.clone();
        self.wait(conversation, &id, due)
    }

    /// Asks something of a job.
    fn verb(
        &mut self,
        conversation: &mut Conversation<'_>,
        cover: &Cover,
        here: &[(String, Status)],
    ) -> Result<(), Trouble> {
        let mut all = Vec::new();
        for (place, (id, status)) in here.iter().enumerate() {
            let create = self
                .jobs
                .iter()
                .any(|job| job.plan.id == *id && job.plan.kind == Kind::Create);
            for verb in verbs(self.profile) {
                // These two have commands for block jobs only.
                if create && matches!(verb, Verb::SetSpeed | Verb::Change) {
                    continue;
                }
                if !self.can(verb) {
                    continue;
                }
                let common = match verb {
                    Verb::Cancel => 1,
                    Verb::Complete | Verb::Finalize | Verb::Dismiss
                        if self.profile.permits(verb, *status) =>
                    {
                        2
                    }
                    _ => 3,
                };
                let new = cover.times(verb, *status) == 0;
                // What ends the job comes last.
                let ends = self.profile.permits(verb, *status)
                    && matches!(
                        verb,
                        Verb::Cancel | Verb::Complete | Verb::Finalize | Verb::Dismiss
                    );
                let weight = match (new, ends) {
                    (true, false) => 40,
                    (true, true) => 8,
                    (false, _) => common,
                };
                all.push(((place, verb), weight));
            }
        }
        let Some((place, verb)) = self.dice.choose(&all) else {
            return Ok(());
        };
        let (id, status) = here[place].clone();
        if verb == Verb::Resume && status == Status::Paused && self.dice.percent(25) {
            return self.resume_and_pause(conversation, &id);
        }
        let force = self.dice.percent(40);
        let step = self.request(verb, &id, force);
        // Now and then two at once.
        if self.dice.percent(8) {
            let Step::Send { command, .. } = step.clone() else {
                return Ok(());
            };
            let pipelined = Step::Send {
                command,
                pipelined: true,
            };
            let verbs: Vec<(Verb, u64)> = verbs(self.profile)
                .filter(|verb| self.can(*verb))
                .map(|verb| (verb, 1))
                .collect();
            let Some(second) = self.dice.choose(&verbs) else {
                return Ok(());
            };
            // A second complete of a mirror that replaces is known to end the peer; these do not replace.
            let second = self.request(second, &id, force);
            self.step(conversation, pipelined)?;
            self.step(conversation, second)?;
            // What became of it is looked up, not reckoned.
            self.unsure(&id);
            return Ok(());
        }
        self.step(conversation, step)?;
        let answer = conversation.last_answer().cloned();
        self.follow(conversation, &id, verb, force, answer.as_ref())
    }

    fn can(&self, verb: Verb) -> bool {
        match verb {
            Verb::SetSpeed => self.abilities.has("block-job-set-speed"),
            Verb::Change => self.abilities.has("block-job-change"),
            verb => self.abilities.has(&format!("job-{verb}")),
        }
    }

    /// A pause behind the last pause point: nobody acknowledges it.
    fn resume_and_pause(
        &mut self,
        conversation: &mut Conversation<'_>,
        id: &str,
    ) -> Result<(), Trouble> {
        let Step::Send { command, .. } = Step::send("job-resume", json!({"id": id})) else {
            return Ok(());
        };
        self.step(
            conversation,
            Step::Send {
                command,
                pipelined: true,
            },
        )?;
        self.step(conversation, Step::send("job-pause", json!({"id": id})))?;
        self.unsure(id);
        self.wait(
            conversation,
            id,
            // It may be done before either is carried out.
            vec![
                Status::Paused,
                Status::Standby,
                Status::Waiting,
                Status::Pending,
                Status::Concluded,
            ],
        )
    }

    /// What keeps the job is not known any more.
    fn unsure(&mut self, id: &str) {
        if let Some(job) = self.jobs.iter_mut().find(|job| job.plan.id == id) {
            job.paused = true;
        }
    }

    fn request(&mut self, verb: Verb, id: &str, force: bool) -> Step {
        let block = |name: &str| self.abilities.has(name);
        let twin = self.dice.percent(40);
        match verb {
            Verb::SetSpeed => {
                let speed = *[0, 1, 1, 65536, -5]
                    .get(self.dice.below(5) as usize)
                    .unwrap_or(&1);
                Step::send("block-job-set-speed", json!({"device": id, "speed": speed}))
            }
            Verb::Change => {
                let mode = if self.dice.percent(50) {
                    "write-blocking"
                } else {
                    "background"
                };
                Step::send(
                    "block-job-change",
                    json!({"id": id, "type": "mirror", "copy-mode": mode}),
                )
            }
            Verb::Cancel if block("block-job-cancel") && !force => {
                Step::send("block-job-cancel", json!({"device": id}))
            }
            Verb::Cancel if block("block-job-cancel") && twin => {
                Step::send("block-job-cancel", json!({"device": id, "force": true}))
            }
            Verb::Finalize | Verb::Dismiss if twin && block(&format!("block-job-{verb}")) => {
                Step::send(&format!("block-job-{verb}"), json!({"id": id}))
            }
            Verb::Pause | Verb::Resume | Verb::Complete
                if twin && block(&format!("block-job-{verb}")) =>
            {
                Step::send(&format!("block-job-{verb}"), json!({"device": id}))
            }
            verb => Step::send(&format!("job-{verb}"), json!({"id": id})),
        }
    }

    /// Reckons what an answer means, and waits for what must come of it.
    fn follow(
        &mut self,
        conversation: &mut Conversation<'_>,
        id: &str,
        verb: Verb,
        force: bool,
        answer: Option<&Answer>,
    ) -> Result<(), Trouble> {
        let granted = answer.is_some_and(|answer| answer.error.is_none());
        let status = answer.and_then(|answer| answer.job.as_ref()?.1);
        let Some(place) = self.jobs.iter().position(|job| job.plan.id == id) else {
            return Ok(());
        };
        if !granted {
            return Ok(());
        }
        let ends = vec![Status::Concluded, Status::Null];
        match verb {
            Verb::Pause => {
                self.jobs[place].paused = true;
                let mut due = vec![Status::Paused, Status::Standby, Status::Waiting];
                due.extend(ends);
                if self.dice.percent(90) {
                    self.wait(conversation, id, due)?;
                }
            }
            Verb::Resume => {
                self.jobs[place].paused = false;
                self.settle(conversation, place)?;
            }
            Verb::SetSpeed => {
                let sent = self.program.steps.last();
                if let Some(Step::Send { command, .. }) = sent {
                    self.jobs[place].hurried = command["arguments"]["speed"] == 0;
                }
                self.settle(conversation, place)?;
            }
            Verb::Complete => {
                self.jobs[place].finishing = true;
                if status == Some(Status::Ready) {
                    self.settle(conversation, place)?;
                }
            }
            Verb::Cancel => {
                self.jobs[place].finishing = true;
                let forced = force || status.is_some_and(|status| !status.is_ready());
                if forced && self.dice.percent(90) {
                    let due = if self.jobs[place].plan.manual_dismiss {
                        Status::Concluded
                    } else {
                        Status::Null
                    };
                    self.wait(conversation, id, vec![due])?;
                } else if !forced {
                    self.settle(conversation, place)?;
                }
            }
            Verb::Finalize | Verb::Dismiss | Verb::Change => {}
        }
        Ok(())
    }
}
