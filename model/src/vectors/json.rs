//! Vectors as JSON: what is written to files, and the lines that adapters read and write.

use core::fmt::Write as _;

use super::automaton::Rest;
use super::script::{Action, Observation};
use super::{Kind, Vector, id};
use crate::profile::{Profile, SpeedText};
use crate::verb::Refusal;
use crate::vocabulary::{Event, Request};

/// Text in quotes.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            control if control < ' ' => {
                // Writing to a string cannot fail.
                let _ = write!(quoted, "\\u{:04x}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

fn list(items: impl IntoIterator<Item = String>) -> String {
    let items: Vec<String> = items.into_iter().collect();
    format!("[{}]", items.join(","))
}

impl Vector {
    /// What is sent, as the line that an adapter reads.
    ///
    /// # Panics
    /// If the vector sends no such action for a member of its own.
    pub fn send(&self, action: Action) -> String {
        let job = |member: usize| quoted(&id(member));
        match action {
            Action::Create(at) => {
                let member = &self.members[at];
                let spec = member.spec;
                let group = if self.members.len() > 1 {
                    "\"g0\""
                } else {
                    "null"
                };
                format!(
                    "{{\"do\":\"create\",\"job\":{},\"group\":{group},\"auto-finalize\":{},\"auto-dismiss\":{},\"can-complete\":{},\"needs-finish\":{},\"prepare-fails\":{},\"lingers\":{}}}",
                    job(at),
                    spec.auto_finalize,
                    spec.auto_dismiss,
                    spec.can_complete,
                    spec.needs_finish,
                    member.prepare_fails,
                    member.lingers,
                )
            }
            Action::Start => format!(
                "{{\"do\":\"start\",\"jobs\":{}}}",
                list((0..self.members.len()).map(job))
            ),
            Action::GiveUp(at) => format!("{{\"do\":\"give-up\",\"job\":{}}}", job(at)),
            Action::Ask {
                member,
                request,
                block,
            } => {
                let argument = match request {
                    Request::Cancel { force } => format!(",\"force\":{force}"),
                    Request::SetSpeed { negative: true, .. } => ",\"speed\":-1".to_owned(),
                    Request::SetSpeed { .. } => ",\"speed\":65536".to_owned(),
                    _ => String::new(),
                };
                format!(
                    "{{\"do\":\"ask\",\"verb\":\"{}\",\"job\":{},\"block-job\":{block}{argument}}}",
                    request.name(),
                    job(member)
                )
            }
            Action::Converge(at) => format!("{{\"do\":\"converge\",\"job\":{}}}", job(at)),
            Action::IoError(at, action) => format!(
                "{{\"do\":\"io-error\",\"job\":{},\"action\":\"{}\"}}",
                job(at),
                action.name()
            ),
            Action::End(at, well) => {
                format!("{{\"do\":\"end\",\"job\":{},\"ok\":{well}}}", job(at))
            }
        }
    }

    /// The whole of it, as one line.
    fn json(&self) -> String {
        let states = self.states.iter().map(|state| {
            let see = state.see.iter().flat_map(|(seen, then)| {
                observation(*seen, self.profile)
                    .into_iter()
                    .map(move |seen| format!("{{\"observation\":{seen},\"then\":{then}}}"))
            });
            let rest = match state.rest {
                Rest::No => "null".to_owned(),
                Rest::Sends(send, then) => format!("{{\"send\":{send},\"then\":{then}}}"),
                Rest::Passed => "{\"passed\":true}".to_owned(),
            };
            format!("{{\"see\":{},\"rest\":{rest}}}", list(see))
        });
        let covers = self
            .covers
            .iter()
            .map(|(from, to)| format!("{{\"from\":\"{from}\",\"to\":\"{to}\"}}"));
        let mut sends = self.sends.iter().map(|&action| self.send(action));
        let example: Vec<String> = self
            .example()
            .into_iter()
            .filter_map(|step| match step {
                Some(seen) => observation(seen, self.profile).into_iter().next(),
                None => sends.next(),
            })
            .collect();
        format!(
            "{{\"name\":{},\"about\":{},\"sends\":{},\"states\":{},\"covers\":{},\"example\":{}}}",
            quoted(&self.name),
            quoted(&self.about),
            list(self.sends.iter().map(|&action| self.send(action))),
            list(states),
            list(covers),
            list(example),
        )
    }
}

/// What is seen, as the line that an adapter writes; more than one where the profile has several texts for it.
pub fn observation(seen: Observation, profile: &Profile) -> Vec<String> {
    let one = match seen {
        Observation::Status(member, status) => format!(
            "{{\"see\":\"status\",\"job\":{},\"status\":\"{status}\"}}",
            quoted(&id(member))
        ),
        Observation::Event(member, event) => {
            let argument = match event {
                Event::Completed { error } => format!(",\"error\":{error}"),
                Event::Error { action } => format!(",\"action\":\"{}\"", action.name()),
                Event::Ready | Event::Pending | Event::Cancelled => String::new(),
            };
            format!(
                "{{\"see\":\"event\",\"job\":{},\"event\":\"{}\"{argument}}}",
                quoted(&id(member)),
                event.name()
            )
        }
        Observation::Accepted => "{\"see\":\"answer\",\"ok\":true}".to_owned(),
        Observation::Refused {
            refusal,
            member,
            block,
        } => {
            let told = |text: &str| {
                format!(
                    "{{\"see\":\"answer\",\"ok\":false,\"class\":\"{}\",\"desc\":{}}}",
                    refusal.class(block),
                    quoted(text)
                )
            };
            let mut told_as = vec![told(&profile.text(refusal, &id(member), block))];
            if refusal == Refusal::NegativeSpeed && profile.speed_text == SpeedText::Either {
                told_as.push(told("Invalid parameter 'speed'"));
            }
            return told_as;
        }
    };
    vec![one]
}

/// The file of one kind, a vector a line.
pub fn kind(profile: &Profile, kind: Kind, vectors: &[Vector]) -> String {
    let lines: Vec<String> = vectors
        .iter()
        .filter(|vector| vector.kind == kind)
        .map(Vector::json)
        .collect();
    format!(
        "{{\"blockjob_vectors\":1,\"profile\":{},\"kind\":\"{}\",\"vectors\":[\n{}\n]}}\n",
        quoted(profile.name),
        kind.name(),
        lines.join(",\n")
    )
}

/// The file that says what there is.
pub fn index(profile: &Profile, vectors: &[Vector]) -> String {
    let files = Kind::ALL.into_iter().map(|kind| {
        let count = vectors.iter().filter(|vector| vector.kind == kind).count();
        format!("{{\"file\":\"{}.json\",\"vectors\":{count}}}", kind.name())
    });
    let covered = super::tour_edges()
        .into_iter()
        .filter(|edge| {
            let mut tour = vectors.iter().filter(|vector| vector.kind == Kind::Tour);
            tour.any(|vector| vector.covers.contains(edge))
        })
        .count();
    format!(
        "{{\"blockjob_vectors\":1,\"profile\":{},\"files\":{},\"tour\":{{\"moves\":{},\"covered\":{covered}}}}}\n",
        quoted(profile.name),
        list(files),
        super::tour_edges().len()
    )
}
