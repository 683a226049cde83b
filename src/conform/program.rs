//! Programs: what is sent to a peer, and what is waited for in between, as data that anybody can read and send.
//!
//! A program is literal QMP. `$DIR` in its strings is the folder of its images, which it lists. It waits for
//! statuses of jobs, never for time to pass, so it means the same on a fast machine and on a slow one.
//!
//! ```json
//! {"blockjob_program": 1, "about": "…",
//!  "files": {"data.img": {"kind": "data", "size": 65536}},
//!  "steps": [
//!   {"send": {"execute": "blockdev-add", "arguments": {"driver": "file", "node-name": "s0", "filename": "$DIR/data.img"}}},
//!   {"await": {"job": "j0", "status": ["paused", "null"]}}]}
//! ```

use std::collections::BTreeMap;
use std::fmt::Write as _;

use blockjob_model::{Profile, Status};
use serde_json::{Map, Value, json};

use super::image::Image;

/// How long a program may be: more than anybody would read.
const STEPS_MAX: usize = 10_000;

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Sends a command.
    Send {
        /// `execute` and `arguments`.
        command: Value,
        /// The next step does not wait for the answer.
        pipelined: bool,
    },
    /// Waits until `job` was in one of these statuses since the command before it, or can be in none of them any
    /// more.
    Await {
        /// Its id.
        job: String,
        /// Any of them will do.
        statuses: Vec<Status>,
    },
}

impl Step {
    /// Sends a command, and waits for its answer.
    pub fn send(name: &str, arguments: Value) -> Step {
        let mut command = json!({"execute": name});
        command["arguments"] = arguments;
        Step::Send {
            command,
            pipelined: false,
        }
    }

    /// The name of the command that it sends.
    pub fn command(&self) -> Option<&str> {
        match self {
            Step::Send { command, .. } => command["execute"].as_str(),
            Step::Await { .. } => None,
        }
    }
}

/// What is sent to a peer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Program {
    /// What it shows, for people.
    pub about: String,
    /// By whose rules it is judged; `None`: by those of whoever greets.
    pub profile: Option<&'static Profile>,
    /// The images it uses, by name.
    pub files: BTreeMap<String, Image>,
    /// What it does.
    pub steps: Vec<Step>,
}

/// Why a text is no program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no program of `blockjob conform`: {0}")]
pub struct NoProgram(pub String);

fn no(what: impl Into<String>) -> NoProgram {
    NoProgram(what.into())
}

impl Program {
    /// How many commands it sends.
    pub fn commands(&self) -> usize {
        let sends = |step: &&Step| matches!(step, Step::Send { .. });
        self.steps.iter().filter(sends).count()
    }

    /// Reads the text of a program.
    ///
    /// # Errors
    /// It is none, and why.
    pub fn read(text: &str) -> Result<Program, NoProgram> {
        let value: Value =
            serde_json::from_str(text).map_err(|error| no(format!("not JSON: {error}")))?;
        if value["blockjob_program"] != 1 {
            return Err(no("\"blockjob_program\" is not 1"));
        }
        let profile = match &value["profile"] {
            Value::Null => None,
            Value::String(name) => Some(
                Profile::by_name(name)
                    .ok_or_else(|| no(format!("no profile is called {name:?}")))?,
            ),
            other => return Err(no(format!("\"profile\" is {other}, not a name"))),
        };
        let mut files = BTreeMap::new();
        if let Some(listed) = value.get("files") {
            let listed = listed
                .as_object()
                .ok_or_else(|| no("\"files\" is no object"))?;
            for (name, image) in listed {
                let fit = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
                if name.is_empty() || name.starts_with('.') || !name.chars().all(fit) {
                    return Err(no(format!(
                        "{name:?} is no name for an image: letters, digits, \".\", \"_\" and \"-\", not \".\" first"
                    )));
                }
                let image =
                    Image::read(image).map_err(|why| no(format!("file {name:?}: {why}")))?;
                files.insert(name.clone(), image);
            }
        }
        let steps = value["steps"]
            .as_array()
            .ok_or_else(|| no("\"steps\" is no list"))?;
        if steps.len() > STEPS_MAX {
            return Err(no(format!("more than {STEPS_MAX} steps")));
        }
        let steps: Result<_, _> = steps
            .iter()
            .enumerate()
            .map(|(place, step)| {
                read_step(step).map_err(|why| no(format!("step {}: {why}", place + 1)))
            })
            .collect();
        Ok(Program {
            about: value["about"].as_str().unwrap_or_default().to_owned(),
            profile,
            files,
            steps: steps?,
        })
    }

    /// The text of the program, a step a line. `found` are further members, for whoever reads it.
    pub fn text(&self, found: &Map<String, Value>) -> String {
        let mut text = format!(
            "{{\"blockjob_program\": 1,\n \"about\": {},\n",
            json!(self.about)
        );
        if let Some(profile) = self.profile {
            let _ = writeln!(text, " \"profile\": {},", json!(profile.name));
        }
        for (name, value) in found {
            let _ = writeln!(text, " {}: {value},", json!(name));
        }
        let files: Map<String, Value> = self
            .files
            .iter()
            .map(|(name, image)| (name.clone(), image.json()))
            .collect();
        let _ = writeln!(text, " \"files\": {},", Value::Object(files));
        text.push_str(" \"steps\": [");
        for (place, step) in self.steps.iter().enumerate() {
            text.push_str(if place == 0 { "\n  " } else { ",\n  " });
            let step = match step {
                Step::Send {
                    command,
                    pipelined: false,
                } => json!({"send": command}),
                Step::Send { command, .. } => json!({"send": command, "pipelined": true}),
                Step::Await { job, statuses } => {
                    let statuses: Vec<&str> = statuses.iter().map(|status| status.name()).collect();
                    json!({"await": {"job": job, "status": statuses}})
                }
            };
            let _ = write!(text, "{step}");
        }
        text.push_str("]}\n");
        text
    }

    /// Leaves out the images that no step names.
    pub fn tidy(&mut self) {
        let steps: String = self
            .steps
            .iter()
            .filter_map(|step| match step {
                Step::Send { command, .. } => Some(command.to_string()),
                Step::Await { .. } => None,
            })
            .collect();
        self.files
            .retain(|name, _| steps.contains(&format!("$DIR/{name}\"")));
    }
}

fn read_step(step: &Value) -> Result<Step, String> {
    if let Some(command) = step.get("send") {
        if !command["execute"].is_string() {
            return Err("what is sent has no \"execute\"".to_owned());
        }
        return Ok(Step::Send {
            command: command.clone(),
            pipelined: step["pipelined"] == true,
        });
    }
    let Some(awaited) = step.get("await") else {
        return Err("it has neither \"send\" nor \"await\"".to_owned());
    };
    let job = awaited["job"]
        .as_str()
        .ok_or("\"await\" has no \"job\"")?
        .to_owned();
    let statuses = awaited["status"]
        .as_array()
        .ok_or("\"status\" is no list of statuses")?
        .iter()
        .map(|status| {
            status
                .as_str()
                .and_then(Status::from_name)
                .ok_or_else(|| format!("{status} is no status"))
        })
        .collect::<Result<Vec<_>, _>>()?;
    if statuses.is_empty() {
        return Err("\"status\" is empty".to_owned());
    }
    Ok(Step::Await { job, statuses })
}

/// `value` with `$DIR` in its strings replaced by `folder`.
pub fn in_folder(value: &Value, folder: &str) -> Value {
    match value {
        Value::String(text) => Value::String(text.replace("$DIR", folder)),
        Value::Array(all) => all.iter().map(|one| in_folder(one, folder)).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, one)| (name.clone(), in_folder(one, folder)))
            .collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_reads_back_from_its_text() {
        let mut program = Program {
            about: "a \"name\"".to_owned(),
            profile: Profile::by_name("qemu-10.0"),
            files: BTreeMap::from([
                ("a.img".to_owned(), Image::Data { size: 4096 }),
                ("b.img".to_owned(), Image::Blank { size: 0 }),
            ]),
            steps: vec![
                Step::send("blockdev-add", json!({"filename": "$DIR/a.img"})),
                Step::Send {
                    command: json!({"execute": "query-jobs"}),
                    pipelined: true,
                },
                Step::Await {
                    job: "j0".to_owned(),
                    statuses: vec![Status::Paused, Status::Null],
                },
            ],
        };
        assert_eq!(
            Program::read(&program.text(&Map::new())),
            Ok(program.clone())
        );
        program.tidy();
        assert_eq!(program.files.len(), 1);
        assert_eq!(program.commands(), 2);
        let Step::Send { command, .. } = &program.steps[0] else {
            panic!("a command");
        };
        assert_eq!(
            in_folder(command, "/x")["arguments"]["filename"],
            "/x/a.img"
        );
    }

    #[test]
    fn what_is_no_program_is_told_why() {
        for (text, why) in [
            ("", "not JSON"),
            ("[]", "blockjob_program"),
            (r#"{"blockjob_program":2,"steps":[]}"#, "is not 1"),
            (r#"{"blockjob_program":1}"#, "no list"),
            (
                r#"{"blockjob_program":1,"steps":[{}]}"#,
                "step 1: it has neither",
            ),
            (r#"{"blockjob_program":1,"steps":[{"send":{}}]}"#, "execute"),
            (
                r#"{"blockjob_program":1,"steps":[{"await":{"job":"j","status":["asleep"]}}]}"#,
                "no status",
            ),
            (
                r#"{"blockjob_program":1,"steps":[{"await":{"job":"j","status":[]}}]}"#,
                "empty",
            ),
            (
                r#"{"blockjob_program":1,"steps":[],"profile":"x"}"#,
                "no profile",
            ),
            (
                r#"{"blockjob_program":1,"steps":[],"files":{"../x":{"kind":"data","size":1}}}"#,
                "no name",
            ),
            (
                r#"{"blockjob_program":1,"steps":[],"files":{"x":{"kind":"tape","size":512}}}"#,
                "tape",
            ),
        ] {
            let error = Program::read(text).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
