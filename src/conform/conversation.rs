//! One program's conversation with a peer: every line is kept and judged as it comes.

mod ended;
mod opening;

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use blockjob_model::{Profile, Refusal, Status, Verb};
use serde_json::{Value, json};

pub use ended::{Answer, Ended, Judged, Life};
pub use opening::{ask, open};

use super::cover::{Cover, leads_to};
use super::peer::{Lost, Peer};
use super::program::{Step, in_folder};
use crate::oracle::feed::Feed;
use crate::oracle::judge::command::Ask;
use crate::oracle::judge::refusal::{self, Meaning};
use crate::oracle::reader::qmp::Message;
use crate::oracle::watch::settle;
use crate::oracle::{Extent, Observer, Options};

/// How many messages a program may bring. A peer that says more has run wild.
const MESSAGES_MAX: usize = 20_000;
/// How often cleaning up looks what is left.
const ROUNDS_MAX: usize = 50;

/// Why a conversation did not come to its end.
#[derive(Debug)]
pub enum Trouble {
    /// The oracle does not take what was said.
    Rejected,
    /// Nothing more comes.
    Lost(Lost),
    /// Far too much comes.
    Flooded(usize),
    /// A job does not come to a status that is due.
    Stuck {
        /// Its id.
        job: String,
        /// Its status.
        status: Status,
        /// Those that were waited for.
        due: Vec<Status>,
        /// For how long.
        waited: Duration,
    },
}

/// A command that is not answered.
struct Asked {
    id: u64,
    step: Option<usize>,
    name: String,
    text: String,
    node: Option<String>,
    object: Option<String>,
    verb: Option<(Verb, String)>,
    statuses: Vec<Status>,
    status: Option<Status>,
    calm: bool,
}

/// The conversation.
pub struct Conversation<'p> {
    peer: &'p mut Peer,
    folder: &'p str,
    feed: Feed,
    begun: Instant,
    lines: Vec<String>,
    next_id: u64,
    /// The jobs that are there, each with its life's place.
    jobs: BTreeMap<String, usize>,
    lives: Vec<Life>,
    /// What was announced since the last command.
    lately: Vec<(String, Status)>,
    pending: VecDeque<Asked>,
    answers: Vec<Answer>,
    nodes: Vec<String>,
    objects: Vec<String>,
    messages: usize,
    /// The verb table's refusals.
    refusals: Vec<(Verb, Status)>,
    /// The result of the last query.
    listed: Option<Value>,
    /// What was seen of the tables.
    pub cover: Cover,
    /// Commands sent, events received.
    pub counts: (u64, u64),
}

impl<'p> Conversation<'p> {
    /// Begins one: `opening` are the lines with which the connection began.
    ///
    /// # Errors
    /// The judge gets no thread.
    pub fn begin(
        peer: &'p mut Peer,
        folder: &'p str,
        opening: &[String],
        profile: Option<&'static Profile>,
        name: &str,
    ) -> std::io::Result<Conversation<'p>> {
        let options = Options {
            profile,
            observer: Observer::Sole,
            extent: Extent::Whole,
            ..Options::default()
        };
        let mut feed = Feed::new(name, &options)?;
        for line in opening {
            feed.feed_line(line.as_bytes());
        }
        Ok(Conversation {
            peer,
            folder,
            feed,
            begun: Instant::now(),
            lines: opening.to_vec(),
            next_id: 1,
            jobs: BTreeMap::new(),
            lives: Vec::new(),
            lately: Vec::new(),
            pending: VecDeque::new(),
            answers: Vec::new(),
            nodes: Vec::new(),
            objects: Vec::new(),
            messages: 0,
            refusals: Vec::new(),
            listed: None,
            cover: Cover::default(),
            counts: (0, 0),
        })
    }

    /// Takes one step.
    ///
    /// # Errors
    /// The conversation is over.
    pub fn step(&mut self, step: &Step, place: Option<usize>) -> Result<(), Trouble> {
        match step {
            Step::Send { command, pipelined } => {
                self.send(&in_folder(command, self.folder), place);
                if *pipelined { Ok(()) } else { self.answered() }
            }
            Step::Await { job, statuses } => self.wait_for(job, statuses),
        }
    }

    fn send(&mut self, command: &Value, step: Option<usize>) {
        let id = self.next_id;
        self.next_id += 1;
        let mut command = command.clone();
        command["id"] = json!(id);
        let text = command.to_string();
        let ask = serde_json::from_str::<Message<'_>>(&text).map(|message| Ask::of(&message));
        let verb = match ask {
            Ok(Ask::Verb(ask)) => ask.id.map(|id| (ask.verb, id)),
            _ => None,
        };
        let status = verb.as_ref().and_then(|(_, job)| self.status(job));
        let name = command["execute"].as_str().unwrap_or_default().to_owned();
        let node = &command["arguments"]["node-name"];
        let object = &command["arguments"]["id"];
        self.lately.clear();
        self.pending.push_back(Asked {
            id,
            step,
            node: node.as_str().map(str::to_owned),
            object: object.as_str().map(str::to_owned),
            name,
            verb,
            statuses: Vec::new(),
            status,
            calm: self.pending.is_empty(),
            text: text.clone(),
        });
        if self.pending.len() == 1 {
            self.turn();
        }
        self.counts.0 += 1;
        self.keep('>', &text);
        self.peer.send(&text);
    }

    /// The oldest command that is not answered has its turn.
    fn turn(&mut self) {
        let jobs = &self.jobs;
        let lives = &self.lives;
        if let Some(head) = self.pending.front_mut()
            && let Some((_, job)) = &head.verb
            && let Some(status) = jobs
                .get(job)
                .and_then(|place| lives[*place].statuses.last())
        {
            head.statuses.push(*status);
        }
    }

    fn keep(&mut self, direction: char, text: &str) {
        let seconds = self.begun.elapsed().as_secs_f64();
        let line = format!(r#"{{"t":{seconds:.6},"dir":"{direction}","msg":{text}}}"#);
        self.feed.feed_line(line.as_bytes());
        self.lines.push(line);
    }

    /// Waits until everything is answered.
    fn answered(&mut self) -> Result<(), Trouble> {
        while !self.pending.is_empty() {
            self.receive()?;
        }
        while let Some(line) = self.peer.receive_now() {
            self.take(&line.map_err(Trouble::Lost)?)?;
        }
        Ok(())
    }

    fn wait_for(&mut self, job: &str, statuses: &[Status]) -> Result<(), Trouble> {
        let begun = Instant::now();
        loop {
            let lately = |(id, status): &(String, Status)| id == job && statuses.contains(status);
            if self.lately.iter().any(lately) {
                return Ok(());
            }
            let status = self.status(job);
            let open = status.is_some_and(|now| statuses.iter().any(|due| leads_to(now, *due)));
            let there = status.is_some_and(|now| statuses.contains(&now));
            // What is not there may still come of a command.
            if there || !open && self.pending.is_empty() {
                return Ok(());
            }
            match (self.receive(), status) {
                (Err(Trouble::Lost(Lost::Silent(_))), Some(status)) if self.pending.is_empty() => {
                    return Err(Trouble::Stuck {
                        job: job.to_owned(),
                        status,
                        due: statuses.to_vec(),
                        waited: begun.elapsed(),
                    });
                }
                (received, _) => received?,
            }
        }
    }

    fn receive(&mut self) -> Result<(), Trouble> {
        let line = self.peer.receive().map_err(Trouble::Lost)?;
        self.take(&line)
    }

    /// Takes what the peer said.
    fn take(&mut self, line: &str) -> Result<(), Trouble> {
        let text = line.trim();
        if text.is_empty() {
            return Ok(());
        }
        self.messages += 1;
        if self.messages > MESSAGES_MAX {
            return Err(Trouble::Flooded(self.messages));
        }
        let Ok(message) = serde_json::from_str::<Value>(text) else {
            let start: String = text.chars().take(200).collect();
            return Err(Trouble::Lost(Lost::Garbled(start)));
        };
        self.keep('<', text);
        if message.get("event").is_some() {
            self.counts.1 += 1;
            self.event(&message);
        } else if message.get("return").is_some() || message.get("error").is_some() {
            self.reply(&message);
        }
        if self.feed.verdict().is_some() {
            return Err(Trouble::Rejected);
        }
        Ok(())
    }

    fn event(&mut self, message: &Value) {
        let data = &message["data"];
        if message["event"] != "JOB_STATUS_CHANGE" {
            return;
        }
        let status = data["status"].as_str().and_then(Status::from_name);
        let (Some(id), Some(status)) = (data["id"].as_str(), status) else {
            return;
        };
        let place = self.jobs.get(id).copied().unwrap_or(self.lives.len());
        if place == self.lives.len() {
            self.lives.push(Life {
                id: id.to_owned(),
                statuses: Vec::new(),
            });
            self.jobs.insert(id.to_owned(), place);
        }
        let life = &mut self.lives[place];
        let before = life.statuses.last().copied();
        let from = before.or((status == Status::Created).then_some(Status::Undefined));
        if let Some(from) = from {
            self.cover.edge(from, status);
        }
        life.statuses.push(status);
        if status == Status::Null {
            self.jobs.remove(id);
        }
        self.lately.push((id.to_owned(), status));
        let mut first = true;
        for asked in &mut self.pending {
            if asked.verb.as_ref().is_some_and(|(_, job)| job == id) {
                asked.calm = false;
                if first {
                    asked.statuses.push(status);
                }
            }
            first = false;
        }
    }

    fn reply(&mut self, message: &Value) {
        let id = message["id"].as_u64();
        let Some(place) = self.pending.iter().position(|asked| Some(asked.id) == id) else {
            return;
        };
        let Some(asked) = self.pending.remove(place) else {
            return;
        };
        let error = message.get("error").map(|error| {
            let text = |name: &str| error[name].as_str().unwrap_or_default().to_owned();
            (text("class"), text("desc"))
        });
        let meaning = error.as_ref().map(|(_, desc)| refusal::read(desc));
        match (&asked.verb, &meaning) {
            (_, Some(Meaning::Refusal(Refusal::Verb { status, verb }, _))) => {
                self.cover.cell(*verb, *status);
                self.refusals.push((*verb, *status));
            }
            (Some(_), Some(Meaning::Refusal(Refusal::NotFound, _))) => {}
            // The table let it through, whatever came of it then.
            (Some((verb, _)), None | Some(Meaning::Refusal(..) | Meaning::Other)) => {
                if let Some(status) = settle(*verb, &asked.statuses) {
                    self.cover.cell(*verb, status);
                }
            }
            _ => {}
        }
        match asked.name.as_str() {
            "blockdev-add" if error.is_none() => self.nodes.extend(asked.node),
            "blockdev-del" if error.is_none() => {
                self.nodes.retain(|node| Some(node) != asked.node.as_ref());
            }
            "object-add" if error.is_none() => self.objects.extend(asked.object),
            "object-del" if error.is_none() => {
                self.objects.retain(|id| Some(id) != asked.object.as_ref());
            }
            "query-jobs" if error.is_none() => self.listed = Some(message["return"].clone()),
            _ => {}
        }
        self.answers.push(Answer {
            step: asked.step,
            command: asked.name,
            job: asked.verb.map(|(_, job)| (job, asked.status)),
            error,
            calm: asked.calm,
        });
        self.turn();
    }

    /// Ends what is left of jobs, and takes nodes and objects away: whether all of it is gone.
    ///
    /// # Errors
    /// The conversation is over.
    pub fn clear(&mut self) -> Result<bool, Trouble> {
        let mut cancelled: Vec<(String, Status)> = Vec::new();
        for _ in 0..ROUNDS_MAX {
            self.send(&json!({"execute": "query-jobs"}), None);
            self.answered()?;
            let jobs: Vec<(String, Option<Status>)> = self
                .listed
                .take()
                .as_ref()
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(|job| {
                    let status = job["status"].as_str().and_then(Status::from_name);
                    Some((job["id"].as_str()?.to_owned(), status))
                })
                .collect();
            if jobs.is_empty() {
                break;
            }
            let mut waits = true;
            for (id, status) in &jobs {
                let verb = match status {
                    Some(Status::Concluded) => "job-dismiss",
                    Some(Status::Aborting | Status::Null) | None => continue,
                    Some(status) => {
                        // A request that was granted is not repeated; its end is awaited.
                        let same = |(other, before): &(String, Status)| {
                            other == id && leads_to(*before, *status)
                        };
                        if cancelled.iter().any(same) {
                            continue;
                        }
                        cancelled.push((id.clone(), *status));
                        "job-cancel"
                    }
                };
                waits &= verb != "job-dismiss";
                self.send(&json!({"execute": verb, "arguments": {"id": id}}), None);
                self.answered()?;
            }
            if waits && let Some((id, _)) = jobs.iter().find(|(id, _)| self.status(id).is_some()) {
                let id = id.clone();
                self.wait_for(&id, &[Status::Concluded, Status::Null])?;
            }
        }
        let nodes: Vec<String> = self.nodes.iter().rev().cloned().collect();
        for node in nodes {
            self.send(
                &json!({"execute": "blockdev-del", "arguments": {"node-name": node}}),
                None,
            );
        }
        let objects: Vec<String> = self.objects.iter().rev().cloned().collect();
        for id in objects {
            self.send(
                &json!({"execute": "object-del", "arguments": {"id": id}}),
                None,
            );
        }
        self.answered()?;
        Ok(self.nodes.is_empty() && self.objects.is_empty() && self.jobs.is_empty())
    }

    /// The status of a job by its events; `None`: it is not there.
    pub fn status(&self, job: &str) -> Option<Status> {
        let place = *self.jobs.get(job)?;
        self.lives[place].statuses.last().copied()
    }

    /// The jobs that are there.
    pub fn jobs(&self) -> impl Iterator<Item = (&str, Status)> {
        self.jobs.iter().filter_map(|(id, place)| {
            let status = self.lives[*place].statuses.last()?;
            Some((id.as_str(), *status))
        })
    }

    /// How the last command was answered.
    pub fn last_answer(&self) -> Option<&Answer> {
        self.answers.last()
    }

    /// The command that waits for its answer longest, as it was sent.
    pub fn unanswered(&self) -> Option<&str> {
        self.pending.front().map(|asked| asked.text.as_str())
    }

    /// Ends it: what the oracle says of it, and what was said.
    pub fn end(mut self) -> Ended {
        let verdict = self.feed.finish();
        Ended {
            fault: verdict.map(|verdict| Judged {
                text: verdict.to_string(),
                rule: verdict.fault().map(|fault| fault.rule),
                line: verdict.fault().map(|fault| fault.line),
                message: verdict.fault().map(|fault| fault.message.to_string()),
                bad: verdict.word() != "accept",
                profile: verdict.profile,
            }),
            lines: self.lines,
            lives: self.lives,
            answers: self.answers,
            refusals: self.refusals,
            cover: self.cover,
            counts: self.counts,
        }
    }
}
