//! Harnesses in parts: what there is to play, how much of it is played, and what is left of an
//! interrupted run.
//!
//! Programs and worlds are counted, by formula, before any of them is played. A harness of them is cut
//! into parts, each a process of its own: that is what is split over processors and machines, and what
//! need not be done again after an interruption.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{fs, io};

use serde::{Deserialize, Serialize};

use super::Proved;

/// What a binary says of a harness before it runs.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Shape {
    pub(super) harness: String,
    /// What it says its tool is: that of its build, or `sequential`.
    pub(super) tool: String,
    /// Programs or worlds; 0 where nobody counts them.
    pub(super) programs: u64,
    /// How many parts are played of every change, with `--full`, and how many there are.
    quick: u64,
    full: u64,
    pub(super) whole: u64,
}

/// How much is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    Quick,
    /// So many parts of whatever is cut.
    Parts(u64),
    Full,
    Whole,
}

impl Shape {
    /// How many parts are played, the first ones.
    pub(super) fn played(&self, scale: Scale) -> u64 {
        let parts = match scale {
            Scale::Quick => self.quick,
            Scale::Parts(parts) => parts,
            Scale::Full => self.full,
            Scale::Whole => self.whole,
        };
        parts.clamp(1, self.whole)
    }

    /// The names of the pins it can have: of what `--quick` plays, and `--full`. Of no other scale what was played is
    /// compared.
    pub(super) fn pinned_as(&self) -> Vec<String> {
        let scales = [Scale::Quick, Scale::Full];
        scales
            .map(|scale| pinned_as(&self.harness, self.played(scale), self.whole))
            .to_vec()
    }

    /// What is going to be played, where that is counted.
    pub(super) fn announcement(&self, played: u64) -> Option<String> {
        (self.programs > 0).then(|| {
            let (name, programs) = (&self.harness, self.programs);
            if played == self.whole {
                format!("{name}: {programs} counted, all of them played")
            } else {
                format!(
                    "{name}: {programs} counted, {played} of {} parts played",
                    self.whole
                )
            }
        })
    }
}

/// The shapes of a binary's harnesses, by name.
pub(super) fn shapes(binary: &Path) -> Result<BTreeMap<String, Shape>, String> {
    let output = Command::new(binary)
        .arg("--parts")
        .output()
        .map_err(|error| format!("cannot start {}: {error}", binary.display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .map(|line| {
            let shape: Shape = serde_json::from_str(line)
                .map_err(|error| format!("{}: {error}: {line}", binary.display()))?;
            Ok((shape.harness.clone(), shape))
        })
        .collect()
}

/// The parts of one harness, put together.
pub(super) fn sum(parts: &[Proved]) -> Option<Proved> {
    let mut total = parts.first()?.clone();
    for part in &parts[1..] {
        total.programs += part.programs;
        total.unbounded += part.unbounded;
        total.executions += part.executions;
        total.distinct += part.distinct;
        total.widened += part.widened;
        total.seconds += part.seconds;
        total.processor_seconds += part.processor_seconds;
        // Each is a process of its own.
        total.peak_bytes = total.peak_bytes.max(part.peak_bytes);
        total.judged &= part.judged;
        total.asserted &= part.asserted;
    }
    // From here on `part` says how many there are; 0 if they are not the first ones.
    let mut numbers: Vec<u64> = parts.iter().map(|part| part.part).collect();
    numbers.sort_unstable();
    let first = numbers
        .iter()
        .zip(1..)
        .all(|(&number, place)| number == place);
    total.part = if first { numbers.len() as u64 } else { 0 };
    Some(total)
}

/// The name of the pin of the first `played` parts.
fn pinned_as(harness: &str, played: u64, whole: u64) -> String {
    if played == whole {
        harness.to_owned()
    } else {
        format!("{harness}:{played}")
    }
}

/// The most memory, in bytes, that as many processes as run at a time can have had together: the sum of the largest.
/// `None` where the system does not tell.
pub(super) fn peak_together(parts: &[Proved], processes: usize) -> Option<u64> {
    let mut peaks: Vec<u64> = parts
        .iter()
        .map(|part| part.peak_bytes)
        .collect::<Option<_>>()?;
    peaks.sort_unstable_by(|one, other| other.cmp(one));
    Some(peaks.iter().take(processes).sum())
}

impl Proved {
    /// Under which name its executions are pinned: its own, or that and how many parts were played. `None`
    /// where these are not the first ones.
    pub(super) fn pinned_as(&self) -> Option<String> {
        match self.part {
            0 => None,
            part => Some(pinned_as(&self.harness, part, self.parts)),
        }
    }

    /// Histories that differ, in words.
    pub(crate) fn of_histories(&self) -> String {
        if self.asserted {
            "asserted".to_owned()
        } else {
            self.distinct.to_string()
        }
    }

    /// The programs that were played, and how many of them without a bound, in words.
    pub(crate) fn of_programs(&self) -> String {
        let mut words = match self.programs {
            0 => "-".to_owned(),
            programs => programs.to_string(),
        };
        if self.unbounded > 0 {
            let _ = write!(words, " ({} without a bound)", self.unbounded);
        }
        if self.part != self.parts {
            let some = match self.part {
                0 => "some".to_owned(),
                part => part.to_string(),
            };
            let _ = write!(words, ", {some} of {} parts", self.parts);
        }
        words
    }
}

/// What an interrupted run has behind it.
#[derive(Debug, Default, Deserialize, Serialize)]
pub(super) struct State {
    /// Of which binaries: their digest.
    build: String,
    /// Where the project stood, for whoever reads the file.
    commit: String,
    /// The parts that are done.
    done: Vec<Proved>,
    #[serde(skip)]
    path: PathBuf,
}

impl State {
    /// A run that begins.
    pub(super) fn new(
        path: PathBuf,
        binaries: &[PathBuf],
        commit: String,
    ) -> Result<State, String> {
        Ok(State {
            build: digest(binaries)?,
            commit,
            done: Vec::new(),
            path,
        })
    }

    /// What the last run of the same binaries has done.
    ///
    /// # Errors
    ///
    /// The file says something else than a state.
    pub(super) fn resume(&mut self) -> Result<(), String> {
        let text = match fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(format!("{}: {error}", self.path.display())),
        };
        let saved: State = serde_json::from_str(&text)
            .map_err(|error| format!("{}: {error}", self.path.display()))?;
        if saved.build == self.build {
            self.done = saved.done;
        } else {
            println!(
                "prove: the last run was of other binaries (commit {}), so all is done again",
                saved.commit
            );
        }
        Ok(())
    }

    /// The digest of the binaries.
    pub(super) fn build(&self) -> &str {
        &self.build
    }

    /// What is known of this part.
    pub(super) fn of(&self, harness: &str, part: (u64, u64)) -> Option<&Proved> {
        self.done
            .iter()
            .find(|done| done.harness == harness && (done.part, done.parts) == part)
    }

    /// A part is done.
    pub(super) fn add(&mut self, proved: &Proved) -> Result<(), String> {
        self.done.push(proved.clone());
        let text = serde_json::to_string(self).map_err(|error| error.to_string())?;
        // In one step, so that an interruption leaves the old file or the new one.
        let new = self.path.with_extension("new");
        fs::write(&new, text)
            .and_then(|()| fs::rename(&new, &self.path))
            .map_err(|error| format!("{}: {error}", self.path.display()))
    }
}

/// What tells these binaries from others.
pub(crate) fn digest(binaries: &[PathBuf]) -> Result<String, String> {
    let mut hasher = DefaultHasher::new();
    for binary in binaries {
        fs::read(binary)
            .map_err(|error| format!("{}: {error}", binary.display()))?
            .hash(&mut hasher);
    }
    Ok(format!("{:016x}", hasher.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proved(part: u64) -> Proved {
        let line = format!(
            r#"{{"harness":"h","tool":"loom","part":{part},"parts":5,"bound":2,"seed":null,"programs":3,"unbounded":1,"executions":10,"distinct":4,"widened":0,"seconds":1.5,"processor_seconds":1.4,"peak_bytes":{},"judged":true,"asserted":false}}"#,
            1000 * part
        );
        serde_json::from_str(&line).expect("what the binary prints")
    }

    #[test]
    fn parts_are_pinned_as_the_whole_only_if_they_are_all_there() {
        let some: Vec<Proved> = [2, 1].map(proved).to_vec();
        let total = sum(&some).expect("two parts");
        assert_eq!((total.programs, total.executions), (6, 20));
        assert_eq!(total.pinned_as().as_deref(), Some("h:2"));
        let all: Vec<Proved> = (1..=5).map(proved).collect();
        assert_eq!(
            sum(&all).and_then(|all| all.pinned_as()).as_deref(),
            Some("h")
        );
        // A shard's share is nobody's whole.
        let shard: Vec<Proved> = [1, 3].map(proved).to_vec();
        assert_eq!(sum(&shard).and_then(|all| all.pinned_as()), None);
    }

    #[test]
    fn a_harness_has_the_pins_of_what_is_compared() {
        let shape = |quick, full| Shape {
            harness: "h".to_owned(),
            tool: "loom".to_owned(),
            programs: 9,
            quick,
            full,
            whole: 5,
        };
        assert_eq!(shape(2, 4).pinned_as(), ["h:2", "h:4"]);
        assert_eq!(shape(2, 5).pinned_as(), ["h:2", "h"]);
    }

    #[test]
    fn as_many_processes_as_run_at_a_time_have_no_more_than_the_largest() {
        let mut parts: Vec<Proved> = [2, 5, 1, 4].map(proved).to_vec();
        assert_eq!(peak_together(&parts, 2), Some(9000));
        assert_eq!(peak_together(&parts, 8), Some(12000));
        assert_eq!(sum(&parts).and_then(|total| total.peak_bytes), Some(5000));
        parts[2].peak_bytes = None;
        assert_eq!(peak_together(&parts, 2), None, "it is not known of one");
    }

    #[test]
    fn what_is_done_is_done_for_these_binaries_only() {
        let folder = std::env::temp_dir().join(format!("prove-state-{}", std::process::id()));
        fs::create_dir_all(&folder).expect("a folder");
        let (binary, path) = (folder.join("binary"), folder.join("state.json"));
        fs::write(&binary, "one").expect("written");
        let begin = || State::new(path.clone(), std::slice::from_ref(&binary), "c".to_owned());
        let mut state = begin().expect("a state");
        state.add(&proved(3)).expect("written");
        let mut again = begin().expect("a state");
        assert!(again.of("h", (3, 5)).is_none(), "nobody asked to resume");
        again.resume().expect("read");
        assert!(again.of("h", (3, 5)).is_some());
        assert!(again.of("h", (2, 5)).is_none() && again.of("h", (3, 7)).is_none());
        fs::write(&binary, "two").expect("written");
        let mut other = begin().expect("a state");
        other.resume().expect("read");
        assert!(other.of("h", (3, 5)).is_none());
        fs::remove_dir_all(&folder).expect("removed");
    }
}
