//! One harness under the tool this binary was built for; `cargo xtask prove` calls it.
//!
//! - `--list [--full]`: the harnesses for this build's tool, one name a line.
//! - `--harness NAME`: runs it and prints one line of JSON; `judged` where the specification judged the histories,
//!   `asserted` where all that was asked is what the harness itself asserts. With `--cases` it says on stderr what each
//!   case took, with `--case N` it runs that case only.
//! - `--harness NAME --without-judge`: plays and records every execution and judges none. That proves
//!   nothing; `cargo xtask prove --overhead` compares it with the whole. Of a harness that is cut into
//!   parts it plays the first, or with `--part I/N` that one.
//! - `--parts`: what can be said of the harnesses before they run, one line of JSON each: how many programs
//!   or worlds, cut into how many parts, and how many of these are played when.
//! - `--replay FILE`: plays the world of a file under its schedule. `--shrink FILE` makes it smaller.
//!
//! Exit 0: every execution was allowed. 101: one was not; its story is on stderr and as a page in
//! `target/proofs`. 2: usage, or a build without a tool, which checks nothing.

use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use blockjob_proofs::explore::How;
use blockjob_proofs::harness::{HARNESSES, Parts};
use blockjob_proofs::story::teller;
use blockjob_proofs::{explore, sample, tool};

fn main() -> ExitCode {
    let Some(tool) = tool::TOOL else {
        eprintln!(
            "this build is for plain threads and checks nothing: run cargo xtask prove, or build with \
             RUSTFLAGS='--cfg blockjob_loom' or '--cfg blockjob_shuttle'"
        );
        return ExitCode::from(2);
    };
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["--list", rest @ ..] if rest.is_empty() || rest == ["--full"] => {
            for harness in HARNESSES {
                if harness.tool() == tool && (!harness.full || !rest.is_empty()) {
                    println!("{}", harness.name);
                }
            }
            ExitCode::SUCCESS
        }
        ["--parts"] => {
            for harness in HARNESSES.iter().filter(|harness| harness.tool() == tool) {
                let programs = harness.programs().unwrap_or(0);
                let Parts { quick, full, whole } = harness.parts;
                println!(
                    "{{\"harness\":\"{}\",\"tool\":\"{}\",\"programs\":{programs},\"quick\":{quick},\"full\":{full},\"whole\":{whole}}}",
                    harness.name,
                    harness.named_tool()
                );
            }
            ExitCode::SUCCESS
        }
        ["--replay", path] => ExitCode::from(sample::replay(Path::new(path))),
        ["--shrink", path] => ExitCode::from(sample::shrink(Path::new(path))),
        ["--harness", name, rest @ ..] => match how(rest) {
            Some((how, cut)) => run(tool, name, how, cut),
            None => usage(),
        },
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    eprintln!(
        "usage: blockjob-proofs --list [--full] | --parts | --replay FILE | --shrink FILE \
         | --harness NAME [--part I/N] [--cases] [--case N] [--without-judge]"
    );
    ExitCode::from(2)
}

/// `I/N` with 1 <= I <= N.
fn part_of(text: &str) -> Option<(u64, u64)> {
    let (part, parts) = text.split_once('/')?;
    let (part, parts) = (part.parse().ok()?, parts.parse().ok()?);
    (1 <= part && part <= parts).then_some((part, parts))
}

/// How, and whether a part was named.
fn how(mut words: &[&str]) -> Option<(How, bool)> {
    let mut how = How::default();
    let mut cut = false;
    loop {
        words = match words {
            [] => return Some((how, cut)),
            ["--cases", rest @ ..] => {
                how.tell = true;
                rest
            }
            ["--without-judge", rest @ ..] => {
                how.judged = false;
                rest
            }
            ["--case", number, rest @ ..] => {
                how.only = Some(number.parse().ok()?);
                rest
            }
            ["--part", part, rest @ ..] => {
                (how.part, how.parts) = part_of(part)?;
                cut = true;
                rest
            }
            _ => return None,
        };
    }
}

fn run(tool: &str, name: &str, mut how: How, cut: bool) -> ExitCode {
    let Some(harness) = HARNESSES
        .iter()
        .find(|harness| harness.name == name && harness.tool() == tool)
    else {
        eprintln!("no harness of {tool} is called '{name}'; --list names them");
        return ExitCode::from(2);
    };
    // A case has its number in the whole; who asks for no part gets the first.
    if !cut && how.only.is_none() {
        how.parts = harness.parts.whole;
    }
    teller::end_after_the_story();
    if !how.judged {
        eprintln!("WITHOUT THE JUDGE: nothing that runs now is checked against the specification");
    }
    let begun = Instant::now();
    let before = processor_seconds();
    let count = explore::run(harness, how);
    assert!(count.executions > 0, "{name} ran nothing");
    let bound = harness
        .bound()
        .map_or_else(|| "null".to_owned(), |bound| bound.to_string());
    let seed = harness
        .seed()
        .map_or_else(|| "null".to_owned(), |seed| seed.to_string());
    // Its executions were judged, or all that was asked of them is what they assert.
    let asserted = count.unrecorded == count.executions;
    let judged = how.judged && !asserted;
    let asserted = how.judged && asserted;
    let peak_bytes = peak_bytes().map_or_else(|| "null".to_owned(), |bytes| bytes.to_string());
    println!(
        "{{\"harness\":\"{name}\",\"tool\":\"{}\",\"part\":{},\"parts\":{},\"bound\":{bound},\"seed\":{seed},\"programs\":{},\"unbounded\":{},\"executions\":{},\"distinct\":{},\"widened\":{},\"seconds\":{:.3},\"processor_seconds\":{:.3},\"peak_bytes\":{peak_bytes},\"judged\":{judged},\"asserted\":{asserted}}}",
        harness.named_tool(),
        how.part,
        how.parts,
        harness.programs().map_or(0, |_| count.programs),
        count.unbounded,
        count.executions,
        count.distinct,
        count.widened,
        begun.elapsed().as_secs_f64(),
        processor_seconds() - before,
    );
    ExitCode::SUCCESS
}

/// What this thread, which plays everything under either tool, has had of a processor: on a busy
/// machine a better measure than the clock.
fn processor_seconds() -> f64 {
    let nanoseconds = std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
    nanoseconds.map_or(0.0, |nanoseconds| nanoseconds as f64 / 1e9)
}

/// The most memory that this process has had so far, in bytes, where the system tells.
fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}
