//! One build with every mutant in it.
//!
//! First only the switches are built: a mutant whose switch does not compile is left to cargo-mutants.
//! Then the mutants themselves: one that does not compile is taken out, as *unviable*, and what is left
//! is built again, until nothing is wrong. What was found out so is kept beside the copy, for the next run
//! of the same mutants in the same sources.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use super::list::{self, Mutant};
use super::rewrite::{self, Region, Style};
use super::{Part, constant};
use crate::copy;
use crate::steps::{cargo, root};

/// Rounds of building after which something else is wrong.
const ROUNDS_MAX: usize = 40;

/// Which mutants are not in the build.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Out {
    /// What they were found out of.
    of: u64,
    /// Those that do not compile, by number.
    pub unviable: BTreeSet<usize>,
    /// Those that cannot be switched.
    pub apart: BTreeSet<usize>,
    /// Functions that turned out to be called by constants.
    constant: BTreeSet<String>,
}

/// What was built.
pub struct Built {
    /// Where the copy is.
    pub source: PathBuf,
    /// The tests' programs, by their names.
    pub programs: BTreeMap<String, PathBuf>,
    pub out: Out,
}

/// Builds the part's `tests` with all of its mutants, in `folder`.
pub fn build(
    part: Part,
    mutants: &[Mutant],
    tests: &[String],
    folder: &Path,
) -> Result<Built, String> {
    let sources = list::sources(part)?;
    let constant = constant::names(every_source()?.iter().map(String::as_str));
    let kept = folder.join("out.json");
    let of = hash(mutants, &sources, &constant);
    let known = fs::read(&kept)
        .ok()
        .and_then(|bytes| serde_json::from_slice::<Out>(&bytes).ok())
        .filter(|out| out.of == of);
    let settled = known.is_some();
    let mut round = Round {
        part,
        mutants,
        sources,
        constant,
        folder,
        out: known.unwrap_or_default(),
    };
    if !settled {
        round.repeat(Style::Switches)?;
    }
    round.repeat(Style::Mutants)?;
    round.out.of = of;
    let text = serde_json::to_vec(&round.out).map_err(|error| error.to_string())?;
    fs::write(&kept, text).map_err(|error| format!("{}: {error}", kept.display()))?;
    let mut command = round.cargo(&["test", "--no-run"]);
    for test in tests {
        command.args(["--test", test]);
    }
    let messages = run(command.arg("--lib"))?;
    let programs = messages
        .iter()
        .filter(|message| message.profile.as_ref().is_some_and(|profile| profile.test))
        .filter_map(|message| {
            Some((
                message.target.as_ref()?.name.clone(),
                message.executable.clone()?,
            ))
        })
        .collect();
    Ok(Built {
        source: round.source(),
        programs,
        out: round.out,
    })
}

struct Round<'a> {
    part: Part,
    mutants: &'a [Mutant],
    /// The files of the package as they are.
    sources: BTreeMap<String, String>,
    /// See [`constant`].
    constant: BTreeSet<String>,
    folder: &'a Path,
    out: Out,
}

impl Round<'_> {
    fn source(&self) -> PathBuf {
        self.folder.join("source")
    }

    fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = cargo(arguments);
        command
            .args(["--locked", "--message-format", "json"])
            .args(["--package", self.part.package()])
            .args(self.part.features())
            .current_dir(self.source())
            .env("CARGO_TARGET_DIR", self.folder.join("target"))
            // What is written for a switch is not written well.
            .env("RUSTFLAGS", "--cap-lints=allow");
        command
    }

    /// Takes out what does not compile until all of the rest does.
    fn repeat(&mut self, style: Style) -> Result<(), String> {
        for _ in 0..ROUNDS_MAX {
            let regions = self.write(style)?;
            let messages = run(&mut self.cargo(&["check", "--lib"]))?;
            let mut wrong = 0;
            for diagnostic in messages
                .iter()
                .filter_map(|message| message.diagnostic.as_ref())
            {
                if diagnostic.level != "error" || diagnostic.spans.is_empty() {
                    continue;
                }
                if let Some(name) = called_in_a_constant(diagnostic) {
                    wrong += 1;
                    self.out.constant.insert(name);
                    continue;
                }
                let Some(region) = blamed(diagnostic, &regions) else {
                    let text = diagnostic.rendered.as_deref().unwrap_or("");
                    return Err(format!(
                        "the copy does not compile, and no mutant is to blame:\n{text}"
                    ));
                };
                wrong += 1;
                if region.branch && style == Style::Mutants {
                    self.out.unviable.extend(&region.mutants);
                } else {
                    self.out.apart.extend(&region.mutants);
                }
            }
            if wrong == 0 {
                return Ok(());
            }
            let (unviable, apart) = (self.out.unviable.len(), self.out.apart.len());
            eprintln!(
                "mutants: {wrong} errors; {unviable} do not compile, {apart} cannot be switched"
            );
        }
        Err(format!("it does not compile after {ROUNDS_MAX} rounds"))
    }

    /// Writes the copy, and says where in which file the mutants are.
    fn write(&mut self, style: Style) -> Result<BTreeMap<String, Vec<Region>>, String> {
        let constant = &self.constant | &self.out.constant;
        let mut files = BTreeMap::new();
        let mut regions = BTreeMap::new();
        for (file, source) in &self.sources {
            let of_file: Vec<(usize, &Mutant)> = (self.mutants.iter().enumerate())
                .filter(|(number, mutant)| {
                    mutant.file == *file
                        && !self.out.unviable.contains(number)
                        && !self.out.apart.contains(number)
                })
                .collect();
            let written = rewrite::rewrite(source, &of_file, &constant, style)
                .map_err(|error| format!("{file}: {error}"))?;
            self.out.apart.extend(written.apart);
            files.insert(PathBuf::from(file), written.text.into_bytes());
            regions.insert(file.clone(), written.regions);
        }
        let root_file = self.part.root_file();
        let path = PathBuf::from(root_file);
        let mut text = match files.remove(&path) {
            Some(text) => text,
            None => {
                fs::read(root().join(root_file)).map_err(|error| format!("{root_file}: {error}"))?
            }
        };
        text.extend_from_slice(
            b"\n#[doc(hidden)]\n#[allow(missing_docs)]\npub mod mutant_switch;\n",
        );
        files.insert(path.clone(), text);
        let switch = format!(
            "{}\nconst COUNT: usize = {};\n",
            include_str!("switch.rs"),
            self.mutants.len()
        );
        files.insert(path.with_file_name("mutant_switch.rs"), switch.into_bytes());
        copy::equal(&self.source(), &files)?;
        Ok(regions)
    }
}

/// What says whether two builds leave out the same.
fn hash(
    mutants: &[Mutant],
    sources: &BTreeMap<String, String>,
    constant: &BTreeSet<String>,
) -> u64 {
    let mut hasher = DefaultHasher::new();
    for mutant in mutants {
        mutant.name.hash(&mut hasher);
    }
    sources.hash(&mut hasher);
    constant.hash(&mut hasher);
    hasher.finish()
}

/// The function that a constant calls after all: what is made by macros cannot be read from them.
fn called_in_a_constant(diagnostic: &Diagnostic) -> Option<String> {
    let code = diagnostic.code.as_ref()?;
    // "cannot call non-const method `Status::may_become` in constant functions"
    let named = diagnostic.message.split('`').nth(1)?;
    let last = named.rsplit("::").next()?;
    let name = last.split('<').next()?;
    (code.code == "E0015" && !name.is_empty()).then(|| name.to_owned())
}

/// The smallest region that an error is in.
fn blamed<'a>(
    diagnostic: &Diagnostic,
    regions: &'a BTreeMap<String, Vec<Region>>,
) -> Option<&'a Region> {
    let primary = diagnostic.spans.iter().filter(|span| span.is_primary);
    let others = diagnostic.spans.iter().filter(|span| !span.is_primary);
    primary.chain(others).find_map(|span| {
        let inside = |region: &&Region| {
            region.range.start <= span.byte_start && span.byte_end <= region.range.end
        };
        let of_file = regions.get(&span.file_name)?;
        of_file
            .iter()
            .filter(inside)
            .min_by_key(|region| region.range.len())
    })
}

/// Every file that could name a function of the part in a constant.
fn every_source() -> Result<Vec<String>, String> {
    let names = copy::tracked()?;
    let rust = names
        .iter()
        .filter(|name| name.extension().is_some_and(|end| end == "rs"));
    Ok(rust
        .filter_map(|name| fs::read_to_string(root().join(name)).ok())
        .collect())
}

/// A line of cargo's, as far as it matters.
#[derive(Deserialize)]
struct Message {
    #[serde(rename = "message")]
    diagnostic: Option<Diagnostic>,
    target: Option<Target>,
    profile: Option<Profile>,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Diagnostic {
    level: String,
    message: String,
    code: Option<Code>,
    spans: Vec<Span>,
    rendered: Option<String>,
}

#[derive(Deserialize)]
struct Code {
    code: String,
}

#[derive(Deserialize)]
struct Span {
    file_name: String,
    byte_start: usize,
    byte_end: usize,
    is_primary: bool,
}

#[derive(Deserialize)]
struct Target {
    name: String,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

/// What cargo says. That it fails is no error here: the messages say why.
fn run(command: &mut Command) -> Result<Vec<Message>, String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot start cargo: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let messages: Vec<Message> = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let explained = |message: &Message| {
        message
            .diagnostic
            .as_ref()
            .is_some_and(|it| it.level == "error")
    };
    if output.status.success() || messages.iter().any(explained) {
        Ok(messages)
    } else {
        Err(format!(
            "cargo: {}\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smallest_region_around_an_error_is_to_blame() {
        let region = |range, number, branch| Region {
            range,
            mutants: vec![number],
            branch,
        };
        let regions = BTreeMap::from([(
            "a.rs".to_owned(),
            vec![
                region(10..90, 1, false),
                region(20..50, 2, false),
                region(30..40, 2, true),
            ],
        )]);
        let blamed = |file: &str, start: usize, end: usize| {
            let diagnostic: Diagnostic = serde_json::from_value(serde_json::json!({
                "level": "error", "message": "", "code": null, "rendered": null, "spans": [
                    {"file_name": file, "byte_start": start, "byte_end": end, "is_primary": true}
                ]
            }))
            .expect("a diagnostic");
            blamed(&diagnostic, &regions).map(|region| (region.mutants[0], region.branch))
        };
        assert_eq!(blamed("a.rs", 32, 33), Some((2, true)));
        assert_eq!(blamed("a.rs", 32, 45), Some((2, false)));
        assert_eq!(blamed("a.rs", 45, 60), Some((1, false)));
        assert_eq!(blamed("a.rs", 5, 15), None);
        assert_eq!(blamed("b.rs", 32, 33), None);
    }

    #[test]
    fn a_function_that_a_constant_calls_is_named_by_the_compiler() {
        let called = |code: &str, message: &str| {
            let diagnostic = serde_json::from_value(serde_json::json!({
                "level": "error", "message": message, "code": {"code": code}, "rendered": null, "spans": []
            }));
            called_in_a_constant(&diagnostic.expect("a diagnostic"))
        };
        let method = "cannot call non-const method `Status::may_become` in constant functions";
        let function = "cannot call non-const function `edge` in constants";
        let generic = "cannot call non-const associated function `Set::<u8>::of` in statics";
        assert_eq!(called("E0015", method).as_deref(), Some("may_become"));
        assert_eq!(called("E0015", function).as_deref(), Some("edge"));
        assert_eq!(called("E0015", generic).as_deref(), Some("of"));
        assert_eq!(called("E0308", function), None);
    }
}
