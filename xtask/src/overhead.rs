//! `cargo xtask prove --overhead`: what judging costs.
//!
//! Each harness runs with the judge and without, in turn, and the executions a second of both are
//! compared: by the processor time of the thread that plays them, the best of a few rounds, so that
//! other work on the machine changes little. Without the judge nothing is proved; such a run is no
//! use but for this. What was measured is kept beside the state of `prove`, with the digest of the binaries, for
//! `cargo xtask results`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::prove::{BUILDS, Proved, digest, list, target};

/// How often each harness runs each way.
const ROUNDS: usize = 3;

/// With the judge there have to be at least so many executions a second of those without it.
const RATIO_MIN: f64 = 0.6;

/// Those that are measured if none is named: short ones under loom, and all there are under shuttle.
const USUAL: [&str; 9] = [
    "pause-is-seen",
    "gate",
    "start",
    "programs-sequential",
    "programs-sampled",
    "worlds-random",
    "worlds-uniform",
    "worlds-pct-3",
    "worlds-pct-5",
];

/// What judging costs one harness.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Cost {
    pub(crate) harness: String,
    pub(crate) tool: String,
    pub(crate) executions: u64,
    /// Executions a second, with the judge and without.
    pub(crate) judged_per_s: f64,
    pub(crate) unjudged_per_s: f64,
}

impl Cost {
    pub(crate) fn ratio(&self) -> f64 {
        self.judged_per_s / self.unjudged_per_s
    }
}

/// What the last measurement found.
#[derive(Debug, Deserialize, Serialize)]
struct Kept {
    /// Of which binaries: their digest.
    build: String,
    costs: Vec<Cost>,
}

fn path() -> PathBuf {
    target().join("prove-overhead.json")
}

/// What the last measurement of these binaries found; nothing where there was none, or it was of others.
pub(crate) fn kept(build: &str) -> Option<Vec<Cost>> {
    of_build(&fs::read_to_string(path()).ok()?, build)
}

fn of_build(text: &str, build: &str) -> Option<Vec<Cost>> {
    let kept: Kept = serde_json::from_str(text).ok()?;
    (kept.build == build).then_some(kept.costs)
}

/// Measures, prints a line for each harness; what is too slow.
pub fn run(names: &[String]) -> Result<Vec<String>, String> {
    let usual: Vec<String> = USUAL.map(str::to_owned).to_vec();
    let names = if names.is_empty() { &usual } else { names };
    let mut faults = Vec::new();
    let mut costs: Vec<Cost> = Vec::new();
    let mut binaries = Vec::new();
    println!(
        "{:<30}  {:<10}  {:>10}  {:>12}  {:>14}  {:>5}",
        "harness", "tool", "executions", "judged per s", "unjudged per s", "ratio"
    );
    for build in &BUILDS {
        let binary = build.make()?;
        for name in list(&binary, true)? {
            if names.contains(&name) {
                let cost = compare(&binary, &name)?;
                faults.extend(too_slow(&cost));
                costs.push(cost);
            }
        }
        binaries.push(binary);
    }
    if let Some(unknown) = names
        .iter()
        .find(|name| costs.iter().all(|cost| cost.harness != **name))
    {
        return Err(format!("no harness is called '{unknown}'"));
    }
    let build = digest(&binaries)?;
    let text = serde_json::to_string(&Kept { build, costs }).map_err(|error| error.to_string())?;
    fs::write(path(), text).map_err(|error| format!("{}: {error}", path().display()))?;
    Ok(faults)
}

fn compare(binary: &Path, name: &str) -> Result<Cost, String> {
    let mut best = [f64::INFINITY; 2];
    let mut tool = String::new();
    let mut executions = [0; 2];
    for _ in 0..ROUNDS {
        for (way, judged) in [true, false].into_iter().enumerate() {
            let proved = play(binary, name, judged)?;
            best[way] = best[way].min(proved.processor_seconds);
            executions[way] = proved.executions;
            tool = proved.tool;
        }
    }
    if executions[0] != executions[1] {
        return Err(format!(
            "{name} plays {} executions with the judge and {} without",
            executions[0], executions[1]
        ));
    }
    if best.iter().any(|&seconds| seconds <= 0.0) {
        return Err(format!("{name}: this system does not tell a thread's time"));
    }
    let [judged_per_s, unjudged_per_s] = best.map(|seconds| executions[0] as f64 / seconds);
    let cost = Cost {
        harness: name.to_owned(),
        tool,
        executions: executions[0],
        judged_per_s,
        unjudged_per_s,
    };
    println!(
        "{name:<30}  {:<10}  {:>10}  {judged_per_s:>12.0}  {unjudged_per_s:>14.0}  {:>5.2}",
        cost.tool,
        cost.executions,
        cost.ratio()
    );
    Ok(cost)
}

fn too_slow(cost: &Cost) -> Option<String> {
    let (name, ratio) = (&cost.harness, cost.ratio());
    (ratio < RATIO_MIN).then(|| {
        format!("{name}: with the judge {ratio:.2} of the executions a second, at least {RATIO_MIN} are wanted")
    })
}

fn play(binary: &Path, name: &str, judged: bool) -> Result<Proved, String> {
    let mut command = Command::new(binary);
    command.args(["--harness", name]).stdin(Stdio::null());
    if !judged {
        command.arg("--without-judge");
    }
    let output = command.output().map_err(|error| error.to_string())?;
    let line = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        let story = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{name}: {}\n{story}", output.status));
    }
    let proved: Proved =
        serde_json::from_str(line.trim()).map_err(|error| format!("{name}: {error}: {line}"))?;
    if (proved.judged || proved.asserted) != judged || proved.executions == 0 {
        return Err(format!("{name} ran something else: {line}"));
    }
    Ok(proved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_measured_is_of_these_binaries_only() {
        let costs = vec![Cost {
            harness: "h".to_owned(),
            tool: "loom".to_owned(),
            executions: 9,
            judged_per_s: 3.0,
            unjudged_per_s: 4.0,
        }];
        let build = "one".to_owned();
        let text = serde_json::to_string(&Kept { build, costs }).expect("as text");
        let found = of_build(&text, "one").expect("of these");
        assert!((found[0].ratio() - 0.75).abs() < 1e-9);
        assert!(too_slow(&found[0]).is_none());
        assert_eq!(of_build(&text, "two"), None);
        assert_eq!(of_build("no text", "one"), None);
    }
}
