//! What a command that makes jobs may be answered.

use blockjob_model::identity::is_well_formed;
use blockjob_model::{Refusal, rule};

use super::{Judged, Pending, Session, text_of_another_version};
use crate::oracle::fields::{Known, shown};
use crate::oracle::judge::Observer;
use crate::oracle::judge::command::{Creation, Planned};
use crate::oracle::judge::refusal::{self, Meaning};
use crate::oracle::reader::json::Piece;

impl Session {
    pub(super) fn creation_answered(
        &mut self,
        line: u64,
        head: &Pending,
        creation: &Creation,
        value: Piece<'_>,
        error: Option<(&str, &str)>,
    ) -> Judged {
        let silent = self.is_created_unseen();
        let running_unseen = silent || self.unseen.has(blockjob_model::Status::Running);
        if silent && !self.filtered {
            self.creation_settled(head, error.is_none());
        }
        let made = &head.progress.made;
        let Some((class, desc)) = error else {
            if !value.is_object() {
                return Err(head.fault(
                    line,
                    rule!("reply-shape"),
                    "the command returns {}",
                    &format!("it returned {}", shown(value)),
                ));
            }
            self.may_have_ended(head, creation);
            for (place, plan) in creation.jobs.iter().enumerate() {
                let id = plan.id.as_deref().unwrap_or("?");
                let made = made.iter().filter(|made| made.plan == place);
                match made.max_by_key(|made| made.started) {
                    // Nothing tells of them.
                    _ if silent || self.filtered => {}
                    None => {
                        return Err(head.fault(
                            line,
                            rule!("created-event-missing"),
                            &format!("it was to create job '{id}' before it answered"),
                            "it succeeded, and no such job was created",
                        ));
                    }
                    Some(made) if !made.started && !running_unseen => {
                        return Err(head.fault(
                            line,
                            rule!("start-failed-but-succeeded"),
                            &format!(
                                "job '{}' was to be started before it answered, and {}",
                                made.id,
                                if made.gone {
                                    "is gone unstarted"
                                } else {
                                    "was not"
                                }
                            ),
                            "it succeeded",
                        ));
                    }
                    Some(_) => {}
                }
                self.own(head, place, plan);
                if plan.speed < 0 {
                    return Err(head.fault(
                        line,
                        rule!("negative-speed-accepted"),
                        &format!("the speed asked for is {}", plan.speed),
                        "it succeeded",
                    ));
                }
            }
            return Ok(());
        };
        if self.is_null_unseen() && !silent {
            for made in made.iter().filter(|made| !made.gone) {
                self.vanish(&made.id);
            }
        }
        let ours = self.observer != Observer::Shared && !self.is_null_unseen();
        if let Some(alive) = made.iter().find(|made| !made.gone && ours) {
            return Err(head.fault(
                line,
                rule!("creation-failed-but-alive"),
                &format!("job '{}' was created and is not gone", alive.id),
                &format!("it failed: {desc}"),
            ));
        }
        let alone = self.observer != Observer::Shared;
        if let Some(made) = made.iter().find(|made| made.started && alone) {
            return Err(head.fault(
                line,
                rule!("creation-failed-but-alive"),
                &format!("job '{}' was started, the last thing that it does", made.id),
                &format!("it failed: {desc}"),
            ));
        }
        if class == "CommandNotFound" {
            return Ok(());
        }
        // The one that has the id now is another client's.
        if let Meaning::IdInUse(id) = refusal::read(desc)
            && made.iter().any(|made| !made.gone && made.id == id)
        {
            self.others_at = self.others_at.or(Some(line));
        }
        self.creation_refused(line, head, creation, desc)
    }

    /// Another client may have made a job of this id while the command was under way; where only one was made and the
    /// command succeeded, it is this one's.
    fn own(&mut self, head: &Pending, place: usize, plan: &Planned) {
        let mut made = head.progress.made.iter().filter(|made| made.plan == place);
        let (Some(made), None) = (made.next(), made.next()) else {
            return;
        };
        if let Some(known) = self.jobs.get_mut(&made.id)
            && self.observer == Observer::Shared
            && let (Some(key), Some(serial)) = (known.key, known.serial)
        {
            let planned = Known::planned(key, serial, plan);
            known.kind = planned.kind;
            known.block = planned.block;
            known.policy = planned.policy;
            known.auto_finalize = planned.auto_finalize;
            known.auto_dismiss = planned.auto_dismiss;
            self.acceptor.narrow(key, &plan.specs);
        }
    }

    /// The command in hand made its jobs, or did not, and its answer is the first to say so.
    pub(super) fn creation_settled(&mut self, head: &Pending, well: bool) {
        for made in &head.progress.made {
            let key = self.jobs.get(&made.id).and_then(|known| known.key);
            match key {
                Some(key) if well => self.acceptor.began(key),
                Some(key) => {
                    self.acceptor.never(key);
                    self.jobs.remove(&made.id);
                }
                // It is gone already.
                None => {}
            }
        }
    }

    /// The errors of creation that can be held against the command.
    pub(super) fn creation_refused(
        &self,
        line: u64,
        head: &Pending,
        creation: &Creation,
        desc: &str,
    ) -> Judged {
        let answer = format!("the answer was: {desc}");
        let planned = |id: &str| {
            creation
                .jobs
                .iter()
                .any(|plan| !plan.explicit || plan.id.as_deref() == Some(id))
        };
        let argument = |name: &str| creation.arguments.iter().any(|argument| argument == name);
        // Arguments inside arguments, and those of actions, are named by a path.
        let simple = |name: &str| !creation.transaction && !name.contains(['.', '[']);
        let meaning = refusal::read(desc);
        let ours = creation.transaction || !matches!(meaning, Meaning::Ungroupable(_));
        if let Err(says) = refusal::fits(&meaning, desc, self.profile())
            && ours
        {
            return Err(text_of_another_version(
                line,
                head,
                desc,
                says,
                self.profile(),
            ));
        }
        match meaning {
            Meaning::IdInUse(id) | Meaning::InvalidId(id) if !planned(id) => Err(head.fault(
                line,
                rule!("error-names-other-job"),
                "the command asks for no such id",
                &answer,
            )),
            Meaning::IdInUse(id) => {
                let wanted = creation
                    .jobs
                    .iter()
                    .filter(|plan| plan.id.as_deref() == Some(id))
                    .count();
                let held_on_to =
                    !self.profile().id_is_free_at_null && self.gone.iter().any(|gone| gone == id);
                let taken =
                    self.jobs.contains_key(id) || held_on_to || wanted > 1 || !self.inventory;
                if taken {
                    Ok(())
                } else {
                    Err(head.fault(line, rule!("id-not-in-use"), "no job has that id", &answer))
                }
            }
            Meaning::InvalidId(id) if is_well_formed(id) => Err(head.fault(
                line,
                rule!("id-not-malformed"),
                "that id is well formed",
                &answer,
            )),
            Meaning::Refusal(Refusal::NegativeSpeed, _)
                if creation.jobs.iter().all(|plan| plan.speed >= 0) =>
            {
                Err(head.fault(
                    line,
                    rule!("speed-not-negative"),
                    "no speed asked for is negative",
                    &answer,
                ))
            }
            Meaning::Missing(name) if simple(name) && argument(name) => Err(head.fault(
                line,
                rule!("argument-error"),
                "that argument is there",
                &answer,
            )),
            Meaning::Unfit(name) if simple(name) && !argument(name) => Err(head.fault(
                line,
                rule!("argument-error"),
                "there is no such argument",
                &answer,
            )),
            _ => Ok(()),
        }
    }
}
