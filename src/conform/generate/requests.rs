//! What is asked of jobs: the verb that was least seen in the status that a job has, and what must come of it.

use blockjob_model::{Status, Verb};
use serde_json::json;

use super::{Maker, pipelined};
use crate::conform::conversation::{Answer, Conversation, Trouble};
use crate::conform::cover::{Cover, verbs};
use crate::conform::program::Step;
use crate::conform::recipe::Kind;

impl Maker<'_> {
    /// Asks something of a job.
    pub(super) fn verb(
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
            let verbs: Vec<(Verb, u64)> = verbs(self.profile)
                .filter(|verb| self.can(*verb))
                .map(|verb| (verb, 1))
                .collect();
            let Some(second) = self.dice.choose(&verbs) else {
                return Ok(());
            };
            let second = self.request(second, &id, force);
            self.step(conversation, pipelined(step))?;
            self.step(conversation, second)?;
            // What became of it is not reckoned.
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
    pub(super) fn resume_and_pause(
        &mut self,
        conversation: &mut Conversation<'_>,
        id: &str,
    ) -> Result<(), Trouble> {
        let resume = Step::send("job-resume", json!({"id": id}));
        self.step(conversation, pipelined(resume))?;
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
    pub(super) fn unsure(&mut self, id: &str) {
        if let Some(job) = self.jobs.iter_mut().find(|job| job.plan.id == id) {
            job.paused = true;
            job.hurried = false;
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
                let mut due = vec![
                    Status::Paused,
                    Status::Standby,
                    Status::Waiting,
                    Status::Pending,
                ];
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
                // A mirror that becomes ready meanwhile takes a soft cancel for a request to finish.
                let forced = force || !self.jobs[place].plan.kind.converges();
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
