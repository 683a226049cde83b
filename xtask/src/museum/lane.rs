//! A lane: a copy of the project to put patches into, with target folders of its own.
//!
//! Lanes and what was built in them are kept between runs. Before each patch the copy is made equal to
//! the project again, and only files that differ are written, so that cargo builds no more than
//! what a patch and the one before it have changed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::card::Check;
use super::child::{self, Ran};
use crate::copy;
use crate::prove;
use crate::steps::cargo;

/// A build that takes longer hangs.
const BUILD: Duration = Duration::from_secs(1800);

/// See the module.
pub struct Lane {
    folder: PathBuf,
    /// Held as long as the lane is in use.
    _lock: File,
    /// Jobs that cargo may run at a time, unless the environment says so.
    build_jobs: usize,
}

/// What came of a check in a lane.
pub enum Outcome {
    /// It does not build: the compiler's words.
    Unbuilt(String),
    Ran(Ran),
}

impl Lane {
    /// The lane of that number, which nobody else may use meanwhile.
    pub fn new(number: usize, build_jobs: usize) -> Result<Lane, String> {
        let folder = prove::target().join(format!("museum/{number}"));
        fs::create_dir_all(folder.join("source"))
            .map_err(|error| format!("{}: {error}", folder.display()))?;
        let path = folder.join("lock");
        let lock = File::create(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        lock.try_lock().map_err(|_| {
            let folder = folder.display();
            format!("{folder} is in use by another museum; CARGO_TARGET_DIR=… gives this one other lanes")
        })?;
        Ok(Lane {
            folder,
            _lock: lock,
            build_jobs,
        })
    }

    fn source(&self) -> PathBuf {
        self.folder.join("source")
    }

    /// Makes the copy equal to the project: what git tracks, as it is in the working tree.
    pub fn restore(&self) -> Result<(), String> {
        copy::equal(&self.source(), &BTreeMap::new())
    }

    /// Restores the copy and puts the patch in; what git says if it does not apply.
    pub fn put_in(&self, patch: &Path) -> Result<(), String> {
        self.restore()?;
        let mut git = Command::new("git");
        // Above the copy there is the project's own repository, which is none of its business.
        git.current_dir(self.source())
            .env("GIT_CEILING_DIRECTORIES", &self.folder)
            .args(["apply", "--whitespace=nowarn"])
            .arg(patch);
        let ran = child::run(&mut git, BUILD, &self.log())?;
        if ran.succeeded() {
            Ok(())
        } else {
            Err(ran.output)
        }
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Builds what the check needs, then runs it for at most `limit`.
    pub fn check(&self, check: &Check, limit: Duration) -> Result<Outcome, String> {
        match check {
            Check::Prove(harness) => self.prove(harness, limit),
            Check::Test {
                package,
                target,
                filter,
            } => {
                let mut arguments = vec!["test", "--locked", "--package", package];
                if target == "lib" {
                    arguments.push("--lib");
                } else {
                    arguments.extend(["--test", target]);
                }
                self.test(&arguments, filter.as_deref(), limit)
            }
            Check::Explore(arguments) => {
                let build = [
                    "build",
                    "--locked",
                    "--package",
                    "blockjob",
                    "--bin",
                    "blockjob",
                ];
                let built = self.build(&mut self.cargo("plain", &build))?;
                if !built.succeeded() {
                    return Ok(Outcome::Unbuilt(built.output));
                }
                let mut command = Command::new(self.folder.join("plain/debug/blockjob"));
                command
                    .current_dir(self.source())
                    .arg("explore")
                    .args(arguments);
                self.run(&mut command, limit)
            }
        }
    }

    /// Compiles everything a patch may touch, for a mutant that has no check.
    pub fn compile(&self) -> Result<Ran, String> {
        self.build(&mut self.cargo("plain", &["check", "--locked", "--workspace"]))
    }

    /// Every quick check until one fails: its name, and the last it said.
    pub fn quick_checks(&self, limit: Duration) -> Result<Option<String>, String> {
        for build in &prove::BUILDS {
            let binary = self.proofs(build)??;
            for name in prove::list(&binary, false)? {
                if let Some(words) = failure(self.prove(&name, limit)?) {
                    return Ok(Some(format!("prove {name}, which says: {words}")));
                }
            }
        }
        let tests = ["test", "--locked", "--workspace", "--no-fail-fast"];
        if let Outcome::Ran(ran) = self.test(&tests, None, limit)?
            && !ran.succeeded()
        {
            let failed = ran
                .output
                .lines()
                .filter_map(|line| line.strip_prefix("test "))
                .find_map(|line| line.strip_suffix(" ... FAILED"));
            return Ok(Some(format!("test {}", failed.unwrap_or("…"))));
        }
        for jobs in ["1", "2", "any"] {
            let check = Check::Explore(vec!["--jobs".to_owned(), jobs.to_owned()]);
            if let Some(words) = failure(self.check(&check, limit)?) {
                return Ok(Some(format!("{check}, which says: {words}")));
            }
        }
        Ok(None)
    }

    fn prove(&self, harness: &str, limit: Duration) -> Result<Outcome, String> {
        for build in &prove::BUILDS {
            let binary = match self.proofs(build)? {
                Ok(binary) => binary,
                Err(words) => return Ok(Outcome::Unbuilt(words)),
            };
            if prove::list(&binary, true)?
                .iter()
                .any(|name| name == harness)
            {
                let mut command = Command::new(&binary);
                // Whatever the tool writes is written beside the binary.
                command
                    .current_dir(binary.parent().unwrap_or(&self.folder))
                    .args(["--harness", harness]);
                return self.run(&mut command, limit);
            }
        }
        Err(format!(
            "no harness is called '{harness}'; cargo xtask prove lists them"
        ))
    }

    /// The binary of the proofs for one tool, or the compiler's words.
    fn proofs(&self, build: &prove::Build) -> Result<Result<PathBuf, String>, String> {
        let folder = self.folder.join(build.tool);
        let mut command = build.command(&folder);
        let ran = self.build(command.current_dir(self.source()))?;
        Ok(if ran.succeeded() {
            Ok(prove::Build::binary(&folder))
        } else {
            Err(ran.output)
        })
    }

    fn test(
        &self,
        arguments: &[&str],
        filter: Option<&str>,
        limit: Duration,
    ) -> Result<Outcome, String> {
        let built = self.build(self.cargo("plain", arguments).arg("--no-run"))?;
        if !built.succeeded() {
            return Ok(Outcome::Unbuilt(built.output));
        }
        let mut command = self.cargo("plain", arguments);
        command.args(filter);
        let outcome = self.run(&mut command, limit)?;
        if let Outcome::Ran(ran) = &outcome
            && ran.succeeded()
            && tests_passed(&ran.output) == 0
        {
            return Err(format!(
                "'{}' ran no test; is the filter the name of one?",
                filter.unwrap_or("no filter")
            ));
        }
        Ok(outcome)
    }

    fn cargo(&self, target: &str, arguments: &[&str]) -> Command {
        let mut command = cargo(arguments);
        command
            .current_dir(self.source())
            .env("CARGO_TARGET_DIR", self.folder.join(target))
            .env_remove("CARGO_ENCODED_RUSTFLAGS");
        command
    }

    fn build(&self, command: &mut Command) -> Result<Ran, String> {
        command.env("CARGO_INCREMENTAL", "1");
        if std::env::var_os("CARGO_BUILD_JOBS").is_none() {
            command.env("CARGO_BUILD_JOBS", self.build_jobs.to_string());
        }
        let ran = child::run(command, BUILD, &self.log())?;
        match ran.status {
            Some(_) => Ok(ran),
            None => Err(format!("a build takes more than {} s", BUILD.as_secs())),
        }
    }

    fn run(&self, command: &mut Command, limit: Duration) -> Result<Outcome, String> {
        // Failures are judged, not reviewed: nothing is to be written into the copy.
        command
            .env("INSTA_UPDATE", "no")
            .env("CARGO_INCREMENTAL", "1")
            .env("RUST_BACKTRACE", "0");
        let mut ran = child::run(command, limit, &self.log())?;
        // A story is about the project, not about where its copy happened to be.
        for (path, word) in [(self.source(), "."), (self.folder.clone(), "target")] {
            ran.output = ran.output.replace(&path.display().to_string(), word);
        }
        ran.output = without_scratch(&ran.output);
        Ok(Outcome::Ran(ran))
    }
}

/// Temporary folders by one name: what they are called differs from run to run.
fn without_scratch(output: &str) -> String {
    const MARK: &str = "/.tmp";
    const RANDOM: usize = 6;
    let mut pieces = output.split(MARK);
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let is_random = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if let Some(random) = piece.get(..RANDOM).filter(|name| is_random(name)) {
            text.push_str("/scratch");
            text.push_str(&piece[random.len()..]);
        } else {
            text.push_str(MARK);
            text.push_str(piece);
        }
    }
    text
}

/// The last words of a check that did not pass.
fn failure(outcome: Outcome) -> Option<String> {
    let output = match outcome {
        Outcome::Ran(ran) if ran.succeeded() => return None,
        Outcome::Ran(ran) if ran.status.is_none() => return Some("it hung".to_owned()),
        Outcome::Ran(ran) => ran.output,
        Outcome::Unbuilt(words) => words,
    };
    let last = output.lines().rfind(|line| !line.trim().is_empty());
    Some(last.unwrap_or("nothing").to_owned())
}

/// How many tests passed, over all targets.
fn tests_passed(output: &str) -> usize {
    output
        .lines()
        .filter_map(|line| line.strip_prefix("test result: ok. "))
        .filter_map(|line| line.split_whitespace().next()?.parse::<usize>().ok())
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passed_tests_are_counted_over_all_targets() {
        let output = "test a ... ok\n\
                      test result: ok. 2 passed; 0 failed; 0 ignored\n\
                      test result: ok. 0 passed; 0 failed; 3 filtered out\n\
                      test result: FAILED. 7 passed; 1 failed\n\
                      test result: ok. 11 passed; 0 failed\n";
        assert_eq!(tests_passed(output), 13);
    }
    #[test]
    fn temporary_folders_have_one_name() {
        assert_eq!(
            without_scratch("/tmp/.tmps4xCCo/source0, /tmp/.tmpm87TLp: and /.tmp/a, /.tmp"),
            "/tmp/scratch/source0, /tmp/scratch: and /.tmp/a, /.tmp"
        );
    }
}
