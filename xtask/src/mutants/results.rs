//! What became of the mutants: a line of JSON for each, kept between runs.
//!
//! A line counts as long as the part's sources are what they were; that a mutant survived only as long
//! as its tests are, too. That tests are only added is taken for granted.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::list::Mutant;
use crate::copy;
use crate::steps::root;

/// What became of a mutant.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// A test failed.
    Caught,
    /// A test was not over in time.
    Hangs,
    /// It does not compile.
    Unviable,
    /// Every test that reaches it passed.
    Survived,
    /// No test reaches it.
    Unreached,
    /// No switch can be put before it: cargo-mutants has to try it.
    Apart,
}

impl Fate {
    /// In the order of the table.
    pub const ALL: [Fate; 6] = [
        Fate::Caught,
        Fate::Hangs,
        Fate::Unviable,
        Fate::Survived,
        Fate::Unreached,
        Fate::Apart,
    ];

    fn word(self) -> &'static str {
        match self {
            Fate::Caught => "caught",
            Fate::Hangs => "hangs",
            Fate::Unviable => "does not compile",
            Fate::Survived => "survived",
            Fate::Unreached => "reached by no test",
            Fate::Apart => "not switched",
        }
    }
}

#[derive(Clone, Serialize, Deserialize)]
struct Line {
    mutant: String,
    fate: Fate,
    /// The test that noticed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    by: String,
    seconds: f64,
    /// Hashes of what it was tried in.
    sources: u64,
    tests: u64,
}

/// See the module.
pub struct Results {
    file: File,
    lines: BTreeMap<String, Line>,
    sources: u64,
    tests: u64,
}

impl Results {
    /// Those in the file that still count; more are added to it.
    pub fn open(path: &Path, package: &str) -> Result<Results, String> {
        let fault = |error: std::io::Error| format!("{}: {error}", path.display());
        let sources = hash(&Path::new(package).join("src"))?;
        let tests = hash(&Path::new(package).join("tests"))?;
        let mut lines = BTreeMap::new();
        for line in fs::read_to_string(path).unwrap_or_default().lines() {
            // One that was cut short when a run was ended is tried again.
            let Ok(line) = serde_json::from_str::<Line>(line) else {
                continue;
            };
            let open = matches!(line.fate, Fate::Survived | Fate::Unreached);
            if line.sources == sources && (line.tests == tests || !open) {
                lines.insert(line.mutant.clone(), line);
            }
        }
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .map_err(fault)?;
        Ok(Results {
            file,
            lines,
            sources,
            tests,
        })
    }

    /// What is known of a mutant.
    pub fn fate(&self, mutant: &Mutant) -> Option<Fate> {
        self.lines.get(&mutant.name).map(|line| line.fate)
    }

    /// Notes what came of a mutant, at once.
    pub fn note(
        &mut self,
        mutant: &Mutant,
        fate: Fate,
        by: &str,
        seconds: f64,
    ) -> Result<(), String> {
        let line = Line {
            mutant: mutant.name.clone(),
            fate,
            by: by.to_owned(),
            seconds: (seconds * 100.0).round() / 100.0,
            sources: self.sources,
            tests: self.tests,
        };
        let text = serde_json::to_string(&line).map_err(|error| error.to_string())?;
        writeln!(self.file, "{text}").map_err(|error| format!("cannot note a result: {error}"))?;
        self.lines.insert(line.mutant.clone(), line);
        Ok(())
    }

    /// How many of each, in a line.
    pub fn counts(&self) -> String {
        let mut words = Vec::new();
        for fate in Fate::ALL {
            let count = self.lines.values().filter(|line| line.fate == fate).count();
            if count > 0 {
                words.push(format!("{count} {}", fate.word()));
            }
        }
        words.join(", ")
    }

    /// A table by file, then what nobody noticed, as Markdown. Of `mutants` alone.
    pub fn report(&self, mutants: &[Mutant]) -> String {
        let mut text = String::from("| file |");
        for fate in Fate::ALL {
            let _ = write!(text, " {} |", fate.word());
        }
        text.push_str(" not run |\n|---|---|---|---|---|---|---|---|\n");
        let files: BTreeSet<&str> = mutants.iter().map(|mutant| mutant.file.as_str()).collect();
        let mut row = |name: &str, of: &dyn Fn(&Mutant) -> bool| {
            let _ = write!(text, "| {name} |");
            for fate in Fate::ALL.map(Some).into_iter().chain([None]) {
                let count = mutants
                    .iter()
                    .filter(|mutant| of(mutant) && self.fate(mutant) == fate)
                    .count();
                let _ = write!(text, " {count} |");
            }
            text.push('\n');
        };
        for file in files {
            row(&format!("`{file}`"), &|mutant| mutant.file == file);
        }
        row("**all**", &|_| true);
        for fate in [Fate::Survived, Fate::Unreached, Fate::Apart] {
            let mut names = mutants
                .iter()
                .filter(|mutant| self.fate(mutant) == Some(fate))
                .peekable();
            if names.peek().is_some() {
                let _ = writeln!(text, "\n{}:\n", fate.word());
                for mutant in names {
                    let _ = writeln!(text, "- `{}`", mutant.name);
                }
            }
        }
        text
    }
}

/// Of every tracked file below a folder.
fn hash(folder: &Path) -> Result<u64, String> {
    let mut hasher = DefaultHasher::new();
    for name in copy::tracked()? {
        if name.starts_with(folder) {
            name.hash(&mut hasher);
            fs::read(root().join(&name))
                .unwrap_or_default()
                .hash(&mut hasher);
        }
    }
    Ok(hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::super::list::{Genre, Place, Span};
    use super::*;

    fn mutant(name: &str) -> Mutant {
        Mutant {
            name: name.to_owned(),
            file: name.split(':').next().unwrap_or(name).to_owned(),
            genre: Genre::UnaryOperator,
            replacement: String::new(),
            span: Span {
                start: Place { line: 1, column: 1 },
                end: Place { line: 1, column: 1 },
            },
        }
    }

    #[test]
    fn a_result_is_kept_as_long_as_it_counts() {
        let name = format!("mutants-results-{}", std::process::id());
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_file(&path);
        let mut results = Results::open(&path, "xtask").expect("a file");
        let (one, other) = (mutant("a:1"), mutant("b:1"));
        results.note(&one, Fate::Caught, "t", 1.0).expect("noted");
        results
            .note(&other, Fate::Survived, "", 1.0)
            .expect("noted");
        drop(results);

        let text = fs::read_to_string(&path).expect("lines");
        let results = Results::open(&path, "xtask").expect("the file");
        assert_eq!(results.fate(&one), Some(Fate::Caught));
        assert_eq!(results.fate(&other), Some(Fate::Survived));
        let report = results.report(&[one.clone(), other.clone(), mutant("b:2")]);
        assert!(
            report.contains("| `a` | 1 | 0 | 0 | 0 | 0 | 0 | 0 |"),
            "{report}"
        );
        assert!(
            report.contains("| `b` | 0 | 0 | 0 | 1 | 0 | 0 | 1 |"),
            "{report}"
        );
        assert!(report.ends_with("survived:\n\n- `b:1`\n"), "{report}");

        // Other tests may well notice what these did not; what these noticed is noticed.
        let tests = format!("\"tests\":{}", results.tests);
        let sources = format!("\"sources\":{}", results.sources);
        fs::write(&path, text.replace(&tests, "\"tests\":1")).expect("written");
        let results = Results::open(&path, "xtask").expect("the file");
        assert_eq!(results.fate(&one), Some(Fate::Caught));
        assert_eq!(results.fate(&other), None);

        fs::write(&path, text.replace(&sources, "\"sources\":1")).expect("written");
        let results = Results::open(&path, "xtask").expect("the file");
        assert_eq!(results.fate(&one), None);
        fs::remove_file(&path).expect("it is there");
    }
}
