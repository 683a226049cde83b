//! What a program begins with: jobs of each kind, alone and in transactions, chosen by what they could show.

use std::path::Path;

use blockjob_model::{Status, Verb};
use serde_json::json;

use super::{Job, Maker, Provocation};
use crate::conform::conversation::{Conversation, Trouble};
use crate::conform::cover::{Cover, verbs};
use crate::conform::image::Image;
use crate::conform::program::Step;
use crate::conform::recipe::{Fault, Kind, Plan};

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

impl Maker<'_> {
    /// Makes a job, or several.
    pub(super) fn open(
        &mut self,
        conversation: &mut Conversation<'_>,
        cover: &Cover,
        folder: &Path,
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

    fn make(&mut self, plan: &Plan, folder: &Path) -> Vec<Step> {
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
        folder: &Path,
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
        folder: &Path,
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
        folder: &Path,
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
        folder: &Path,
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
}
