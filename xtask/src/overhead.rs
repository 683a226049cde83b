//! `cargo xtask prove --overhead`: what judging costs.
//!
//! Each harness runs with the judge and without, in turn, and the executions a second of both are
//! compared: by the processor time of the thread that plays them, the best of a few rounds, so that
//! other work on the machine changes little. Without the judge nothing is proved; such a run is no
//! use but for this.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::prove::{BUILDS, Proved, list};

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

/// Measures, prints a line for each harness; what is too slow.
pub fn run(names: &[String]) -> Result<Vec<String>, String> {
    let usual: Vec<String> = USUAL.map(str::to_owned).to_vec();
    let names = if names.is_empty() { &usual } else { names };
    let mut faults = Vec::new();
    let mut found = Vec::new();
    println!(
        "{:<30}  {:<7}  {:>10}  {:>12}  {:>14}  {:>5}",
        "harness", "tool", "executions", "judged per s", "unjudged per s", "ratio"
    );
    for build in &BUILDS {
        let binary = build.make()?;
        for name in list(&binary, true)? {
            if names.contains(&name) {
                faults.extend(compare(&binary, build.tool, &name)?);
                found.push(name);
            }
        }
    }
    match names.iter().find(|name| !found.contains(name)) {
        Some(unknown) => Err(format!("no harness is called '{unknown}'")),
        None => Ok(faults),
    }
}

fn compare(binary: &Path, tool: &str, name: &str) -> Result<Option<String>, String> {
    let mut best = [f64::INFINITY; 2];
    let mut executions = [0; 2];
    for _ in 0..ROUNDS {
        for (way, judged) in [true, false].into_iter().enumerate() {
            let proved = play(binary, name, judged)?;
            best[way] = best[way].min(proved.processor_seconds);
            executions[way] = proved.executions;
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
    let [with, without] = best.map(|seconds| executions[0] as f64 / seconds);
    let ratio = with / without;
    println!(
        "{name:<30}  {tool:<7}  {:>10}  {with:>12.0}  {without:>14.0}  {ratio:>5.2}",
        executions[0]
    );
    Ok((ratio < RATIO_MIN).then(|| {
        format!("{name}: with the judge {ratio:.2} of the executions a second, at least {RATIO_MIN} are wanted")
    }))
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
    if proved.judged != judged || proved.executions == 0 {
        return Err(format!("{name} ran something else: {line}"));
    }
    Ok(proved)
}
