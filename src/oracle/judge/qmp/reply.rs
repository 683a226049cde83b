//! Replies: whose they are, and what a verb may be answered.

use blockjob_model::vocabulary::Reply;
use blockjob_model::{Profile, Refusal, Request, Status, rule};

use super::{Judged, MONITOR, Pending, Session, Target, text_of_another_version};
use crate::oracle::fields::shown;
use crate::oracle::judge::at;
use crate::oracle::judge::command::{Ask, VerbAsk};
use crate::oracle::judge::refusal::{self, Meaning};
use crate::oracle::reader::json::Piece;
use crate::oracle::reader::qmp::{ErrorReply, Message};
use crate::oracle::verdict::Fault;

impl Session {
    pub(super) fn reply(&mut self, line: u64, message: &Message<'_>) -> Judged {
        self.replies += 1;
        let echoed = message.id;
        let fits = |pending: &Pending| match &pending.id {
            Some(id) => echoed.is_present() && echoed.same_value(id),
            None => !echoed.is_present(),
        };
        if let Some(place) = self.oob.iter().position(fits) {
            self.oob.remove(place);
            return Ok(());
        }
        if self.filtered {
            self.note_answer();
            // Its command may have been left out.
            let likely = |pending: &Pending| fits(pending) && pending.may_be_answered_so(message);
            let likely = self.queue.iter().position(likely);
            if likely.is_some() && !echoed.is_present() {
                // Those before it were answered in between, and that was left out.
                self.queue.drain(..likely.unwrap_or_default());
            }
            let asked = self.queue.iter().position(|pending| {
                fits(pending) && (likely.is_none() || pending.may_be_answered_so(message))
            });
            let Some(asked) = asked.and_then(|place| self.queue.remove(place)) else {
                return Ok(());
            };
            if self.mixed && asked.id.is_none() {
                // It may answer another client.
                return Ok(());
            }
            return self.answered(line, &asked, message);
        }
        let Some(head) = self.queue.front() else {
            if self.lost > 0 || !self.commands {
                self.lost = self.lost.saturating_sub(1);
                self.orphans |= !self.commands;
                return Ok(());
            }
            if self.orphans && !echoed.is_present() {
                // Commands were left out from the first reply on.
                self.filter();
                return Ok(());
            }
            return Err(Fault::new(
                line,
                rule!("reply-without-command"),
                "",
                "every command has been answered",
                "another reply comes",
            )
            .instead(vec!["an event".to_owned()]));
        };
        if self.begins_inside() && !self.queue.iter().any(fits) {
            // It answers what was asked before the recording began.
            return Ok(());
        }
        let nobodys =
            |pending: &Pending| pending.id.is_none() && !pending.may_be_answered_so(message);
        if self.begins_inside() && nobodys(head) {
            return Ok(());
        }
        if !fits(head) {
            let expected = match &head.id {
                Some(id) => format!("with id {id}"),
                None => "without an id".to_owned(),
            };
            let rule = if self.queue.iter().any(fits) {
                rule!("reply-order")
            } else {
                rule!("reply-id")
            };
            let has = if echoed.is_present() {
                format!("id {}", shown(echoed))
            } else {
                "no id".to_owned()
            };
            let fault = Fault::new(
                line,
                rule,
                "",
                &format!(
                    "commands are answered in order and {} of line {} is next",
                    head.name, head.line
                ),
                &format!("this reply has {has}"),
            )
            .instead(vec![format!("the reply {expected}")])
            .of(head.ask.ids());
            let place = self.queue.iter().position(fits);
            self.resume_reply(place);
            return Err(fault);
        }
        let Some(head) = self.queue.pop_front() else {
            return Ok(());
        };
        self.aligned = true;
        let judged = self.answered(line, &head, message);
        if let Err(fault) = &judged {
            self.settle(&head, message.value.is_present(), Some(fault));
        }
        self.leaving.clear();
        self.begin();
        judged
    }

    /// Whether answers may come yet to what was asked before the recording began: a connection does not begin in it, and
    /// nothing that was asked in it is answered yet.
    pub(super) fn begins_inside(&self) -> bool {
        !(self.greeted && self.negotiated || self.aligned)
    }

    /// The command in hand is answered.
    pub(super) fn answered(&mut self, line: u64, head: &Pending, message: &Message<'_>) -> Judged {
        let error = if message.error.is_present() {
            let error: ErrorReply<'_> = message.error.read_members().unwrap_or_default();
            match (error.class.as_str(), error.desc.as_str()) {
                (Some(class), Some(desc)) => Some((class, desc)),
                _ => {
                    return Err(head.fault(
                        line,
                        rule!("reply-shape"),
                        "an error has a `class` and a `desc`, both strings",
                        &format!("it is {}", shown(message.error)),
                    ));
                }
            }
        } else {
            None
        };
        let error = error
            .as_ref()
            .map(|(class, desc)| (class.as_ref(), desc.as_ref()));
        if let Some((class, _)) = error {
            const CLASSES: [&str; 5] = [
                "GenericError",
                "CommandNotFound",
                "DeviceNotActive",
                "DeviceNotFound",
                "KVMMissingCap",
            ];
            if !CLASSES.contains(&class) {
                return Err(head.fault(
                    line,
                    rule!("error-class"),
                    &format!("the class of an error is {}", CLASSES.join(", ")),
                    &format!("it is {class}"),
                ));
            }
        }
        match &head.ask {
            Ask::Verb(verb) => self.verb_answered(line, head, verb, message.value, error),
            Ask::Query { block } => self.query_answered(line, head, *block, message.value, error),
            Ask::Create(creation) => {
                self.creation_answered(line, head, creation, message.value, error)
            }
            Ask::Human(Some(_)) if head.progress.called => {
                // The human monitor prints nothing when a command succeeded.
                if error.is_none() && message.value.as_str().as_deref() == Some("") {
                    self.acceptor
                        .answer(MONITOR, Ok(()))
                        .map_err(|rejection| at(line, rejection))
                } else {
                    self.acceptor.withdraw(MONITOR);
                    Ok(())
                }
            }
            _ => Ok(()),
        }
    }

    pub(super) fn verb_answered(
        &mut self,
        line: u64,
        head: &Pending,
        verb: &VerbAsk,
        value: Piece<'_>,
        error: Option<(&str, &str)>,
    ) -> Judged {
        let id = verb.id.as_deref().unwrap_or_default();
        let asked = self
            .jobs
            .get_mut(id)
            .and_then(|known| known.speed_asked.take());
        let reply = match error {
            None => {
                if !value.is_empty_object() {
                    return Err(head.fault(
                        line,
                        rule!("reply-shape"),
                        "the command returns {}",
                        &format!("it returned {}", shown(value)),
                    ));
                }
                if let Some(fault) = verb.argument_faults.first() {
                    return Err(head.fault(
                        line,
                        rule!("arguments-accepted"),
                        &format!("its arguments are wrong ({fault}…)"),
                        "it succeeded",
                    ));
                }
                Ok(())
            }
            Some((class, desc)) => {
                match refusal_of(line, head, verb, class, desc, self.profile())? {
                    Said::Refused(refusal) => Err(refusal),
                    said => {
                        // It failed before it reached the job layer, or the driver turned it down.
                        let judged = match said {
                            Said::ByDriver => self.may_be_the_driver(line, head, verb, desc),
                            _ => Ok(()),
                        };
                        if head.progress.called {
                            self.acceptor.withdraw(MONITOR);
                        }
                        return judged;
                    }
                }
            }
        };
        if let Some(known) = self.jobs.get_mut(id)
            && reply.is_ok()
            && known.speed.is_some()
            && asked.is_some()
        {
            known.speed = asked;
        }
        let dismissed = verb.request == Request::Dismiss && reply.is_ok();
        if !self.unseen.is_empty() {
            match reply {
                Err(Refusal::Verb { status, .. }) => self.note_shown(id, status),
                Ok(()) if dismissed => self.note_shown(id, Status::Concluded),
                _ => {}
            }
        }
        if self.filtered
            && dismissed
            && let Some(known) = self.jobs.get_mut(id)
        {
            known.may_be_another = true;
        }
        match head.progress.target {
            Target::Job(_) => {
                let answered = self.acceptor.answer(MONITOR, reply);
                if dismissed && answered.is_ok() && self.is_null_unseen() {
                    self.vanish(id);
                }
                answered.map_err(|rejection| at(line, rejection))
            }
            Target::Unknown => match reply {
                // Whatever the job was at, the answer says what it was.
                Err(Refusal::Verb { status, verb }) if self.profile().permits(verb, status) => {
                    Err(head.fault(
                        line,
                        rule!("refused-what-is-permitted"),
                        &format!("a job that is {status} may be asked to {verb}"),
                        "it was refused for that status",
                    ))
                }
                _ => Ok(()),
            },
            // Somebody else may have created it meanwhile.
            Target::Nobody if self.jobs.contains_key(id) => Ok(()),
            Target::Nobody => match reply {
                Err(Refusal::NotFound) => Ok(()),
                Ok(()) => Err(Fault {
                    allowed: vec![Refusal::NotFound.text(id, verb.block)],
                    ..head.fault(
                        line,
                        rule!("verb-accepted-for-nobody"),
                        &format!("no job has the id '{id}'"),
                        "it succeeded",
                    )
                }),
                Err(refusal) => Err(Fault {
                    allowed: vec![Refusal::NotFound.text(id, verb.block)],
                    ..head.fault(
                        line,
                        rule!("refusal-text"),
                        &format!("no job has the id '{id}'"),
                        &format!("the answer was: {}", refusal.text(id, verb.block)),
                    )
                }),
            },
        }
    }
}

impl Session {
    /// A driver is asked only where the job layer refuses nothing before.
    fn may_be_the_driver(&self, line: u64, head: &Pending, verb: &VerbAsk, desc: &str) -> Judged {
        let id = verb.id.as_deref().unwrap_or_default();
        let replies = match head.progress.target {
            Target::Job(_) if head.progress.called => self.acceptor.answers(MONITOR),
            // Somebody else may have created it meanwhile.
            Target::Nobody if !self.jobs.contains_key(id) => vec![Err(Refusal::NotFound)],
            _ => return Ok(()),
        };
        let passes = |reply: &Reply| matches!(reply, Ok(()) | Err(Refusal::CannotComplete));
        if replies.is_empty() || replies.iter().any(passes) {
            return Ok(());
        }
        let said = |reply: &Reply| match reply {
            Ok(()) => "success".to_owned(),
            Err(refusal) => self.profile().text(*refusal, id, verb.block),
        };
        Err(Fault {
            allowed: replies.iter().map(said).collect(),
            ..head.fault(
                line,
                rule!("refusal-text"),
                "it is refused before the job's driver is asked",
                &format!("the answer was: {desc}"),
            )
        })
    }
}

impl Pending {
    /// Whether the answer looks like one to this command, where several are open and answers are missing.
    fn may_be_answered_so(&self, message: &Message<'_>) -> bool {
        let error: ErrorReply<'_> = message.error.read_members().unwrap_or_default();
        let desc = error.desc.as_str();
        if error.class.as_str().as_deref() == Some("CommandNotFound") {
            // Before the capabilities are negotiated every command is answered so.
            return true;
        }
        match &self.ask {
            Ask::Query { .. } => message.value.kind() == "a list",
            Ask::Verb(asked) => {
                let Some(desc) = desc else {
                    return message.value.is_empty_object();
                };
                match refusal::read(&desc) {
                    Meaning::Refusal(refusal, named) => {
                        let of = named.is_none_or(|named| asked.id.as_deref() == Some(named));
                        of && match refusal {
                            Refusal::Verb { verb, .. } => verb == asked.verb,
                            Refusal::AlreadyPaused => asked.request == Request::Pause,
                            Refusal::NotPaused => asked.request == Request::Resume,
                            _ => true,
                        }
                    }
                    Meaning::Missing(_) | Meaning::Unfit(_) => !asked.argument_faults.is_empty(),
                    _ => false,
                }
            }
            Ask::Create(_) | Ask::Capabilities | Ask::Quit => {
                desc.is_some() || message.value.is_empty_object()
            }
            _ => true,
        }
    }
}

/// Who refused a verb.
enum Said {
    /// The job layer, for this.
    Refused(Refusal),
    /// The job's driver, in its own words.
    ByDriver,
    /// Whoever read the command.
    Before,
}

/// Which refusal an error reply to a verb is.
fn refusal_of(
    line: u64,
    head: &Pending,
    verb: &VerbAsk,
    class: &str,
    desc: &str,
    profile: &Profile,
) -> Result<Said, Fault> {
    let id = verb.id.as_deref().unwrap_or_default();
    if !verb.argument_faults.is_empty() {
        let about_arguments =
            matches!(refusal::read(desc), Meaning::Missing(_) | Meaning::Unfit(_));
        let expected = verb
            .argument_faults
            .iter()
            .any(|fault| desc.starts_with(fault.as_str()));
        if about_arguments && !expected {
            return Err(Fault {
                allowed: verb.argument_faults.clone(),
                ..head.fault(
                    line,
                    rule!("argument-error"),
                    "that argument is in order",
                    &format!("the answer was: {desc}"),
                )
            });
        }
        if about_arguments && class != "GenericError" {
            return Err(class_of_another(line, head, class, "GenericError"));
        }
        return Ok(Said::Before);
    }
    let meaning = refusal::read(desc);
    if class == "CommandNotFound" && meaning == Meaning::Other {
        // Not negotiated yet, disabled, or a command of another version.
        return Ok(Said::Before);
    }
    if let Err(says) = refusal::fits(&meaning, desc, profile) {
        return Err(text_of_another_version(line, head, desc, says, profile));
    }
    match meaning {
        Meaning::Refusal(refusal, named) => {
            if let Some(named) = named
                && named != id
            {
                return Err(head.fault(
                    line,
                    rule!("error-names-other-job"),
                    &format!("the command was for '{id}'"),
                    &format!("the answer names '{named}'"),
                ));
            }
            if let Refusal::Verb { verb: named, .. } = refusal
                && named != verb.verb
            {
                return Err(head.fault(
                    line,
                    rule!("error-names-other-verb"),
                    &format!("the command's verb is {}", verb.verb),
                    &format!("the answer names {named}"),
                ));
            }
            if refusal == Refusal::NotFound && named.is_some() != verb.block {
                return Err(Fault {
                    allowed: vec![profile.text(refusal, id, verb.block)],
                    ..head.fault(
                        line,
                        rule!("refusal-text"),
                        "block-job-* and job-* commands have their own words for this",
                        &format!("the answer was: {desc}"),
                    )
                });
            }
            if class != refusal.class(verb.block) {
                return Err(class_of_another(
                    line,
                    head,
                    class,
                    refusal.class(verb.block),
                ));
            }
            // The driver says the same of a convergence it has lost (§12-13).
            let drivers = refusal == Refusal::CannotComplete && profile.ready_may_lapse;
            Ok(if drivers {
                Said::ByDriver
            } else {
                Said::Refused(refusal)
            })
        }
        Meaning::SpeedUnsupported if matches!(verb.request, Request::SetSpeed { .. }) => {
            Ok(Said::Before)
        }
        Meaning::Missing(_) | Meaning::Unfit(_) => Err(head.fault(
            line,
            rule!("argument-error"),
            "its arguments are in order",
            &format!("the answer was: {desc}"),
        )),
        // A driver may turn these down in its own words.
        Meaning::Other if verb.request == Request::Complete => Ok(Said::ByDriver),
        Meaning::Other if verb.request == Request::Change => Ok(Said::Before),
        _ => Err(head.fault(
            line,
            rule!("refusal-text"),
            "no refusal of this command has such a text",
            &format!("the answer was: {desc}"),
        )),
    }
}

fn class_of_another(line: u64, head: &Pending, class: &str, expected: &str) -> Fault {
    Fault {
        allowed: vec![expected.to_owned()],
        ..head.fault(
            line,
            rule!("error-class"),
            &format!("this error is of class {expected}"),
            &format!("its class was {class}"),
        )
    }
}
