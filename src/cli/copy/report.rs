//! What a copy will do, and what became of it.

use std::path::PathBuf;
use std::time::Duration;

use blockjob::copy::{CopyJob, Durability, Ending, PlannedCopy, Recovered, Recovery, Summary};
use blockjob::driver::Errno;
use serde::Serialize;

use super::Arguments;
use crate::cli::args::human_size;
use crate::cli::output::{Output, Verdict, complain, printable};

/// One pair of a dry run, for machines.
#[derive(Serialize)]
struct PlanLine<'a> {
    kind: &'static str,
    source: &'a str,
    target: &'a str,
    method: &'static str,
    size_bytes: u64,
    stored_bytes: u64,
    workers: usize,
    techniques: Vec<&'static str>,
}

/// All pairs of a dry run, for machines.
#[derive(Serialize)]
struct PlanTotal {
    kind: &'static str,
    pairs: usize,
    size_bytes: u64,
    stored_bytes: u64,
}

/// Says what would be done, of each pair and of all.
pub fn plan<'a>(
    copies: impl Iterator<Item = &'a PlannedCopy>,
    arguments: &Arguments,
    output: &mut Output,
) {
    let mut all = PlanTotal {
        kind: "plan-total",
        pairs: 0,
        size_bytes: 0,
        stored_bytes: 0,
    };
    for copy in copies {
        all.pairs += 1;
        all.size_bytes = all.size_bytes.saturating_add(copy.size_bytes);
        all.stored_bytes = all.stored_bytes.saturating_add(copy.stored_bytes);
        let techniques: Vec<_> = copy.techniques.iter().map(|one| one.name()).collect();
        let source = copy.pair.source.to_string_lossy();
        let target = copy.pair.target.to_string_lossy();
        if arguments.json {
            output.json(&PlanLine {
                kind: "plan",
                source: &source,
                target: &target,
                method: copy.method.name(),
                size_bytes: copy.size_bytes,
                stored_bytes: copy.stored_bytes,
                workers: copy.workers,
                techniques,
            });
        } else {
            let (source, target) = (printable(&source), printable(&target));
            let size = human_size(copy.size_bytes);
            let method = copy.method.name();
            output.line(format!("would {method} {target} from {source} ({size})"));
            if arguments.verbose {
                output.line(format!(
                    "      by {}; {} of it stored; workers: {}; sync: {}",
                    techniques.join(", else "),
                    human_size(copy.stored_bytes),
                    copy.workers,
                    arguments.sync.name(),
                ));
            }
        }
    }
    if arguments.json {
        output.json(&all);
    } else if all.pairs > 1 {
        output.line(format!(
            "{} pairs, {}, of which {} are stored",
            all.pairs,
            human_size(all.size_bytes),
            human_size(all.stored_bytes),
        ));
    }
}

/// One pair, for machines.
#[derive(Serialize)]
struct PairLine<'a> {
    kind: &'static str,
    job: &'a str,
    source: &'a str,
    target: &'a str,
    method: &'static str,
    ending: &'static str,
    error: Option<String>,
    size_bytes: u64,
    copied_bytes: u64,
    cloned_bytes: u64,
    offloaded_bytes: u64,
    hole_bytes: u64,
    zero_bytes: u64,
    unreadable_bytes: u64,
    checksum: Option<&'a str>,
    verified: bool,
    technique: &'static str,
    sync: &'static str,
    seconds: f64,
    left_behind: Option<String>,
    removed_leftovers: Vec<String>,
    resumed_bytes: u64,
    passes: u64,
    recopied_bytes: u64,
    started_over: Option<&'a str>,
    journal: Option<String>,
}

/// All pairs, for machines.
#[derive(Serialize)]
struct SummaryLine {
    kind: &'static str,
    verdict: &'static str,
    pairs: usize,
    copied_pairs: usize,
    size_bytes: u64,
    copied_bytes: u64,
    cloned_bytes: u64,
    offloaded_bytes: u64,
    hole_bytes: u64,
    zero_bytes: u64,
    unreadable_bytes: u64,
    resumed_bytes: u64,
    sync: &'static str,
    durable: bool,
    seconds: f64,
}

/// What became of the bytes of one pair, or of all.
#[derive(Clone, Copy, Default)]
struct Bytes {
    size: u64,
    copied: u64,
    cloned: u64,
    offloaded: u64,
    holes: u64,
    zeros: u64,
    unreadable: u64,
    resumed: u64,
    recopied: u64,
}

impl Bytes {
    fn of(summary: &Summary) -> Bytes {
        Bytes {
            size: summary.size_bytes,
            copied: summary.copied_bytes,
            cloned: summary.cloned_bytes,
            offloaded: summary.offloaded_bytes,
            holes: summary.hole_bytes,
            zeros: summary.zero_bytes,
            unreadable: summary.unreadable_bytes,
            resumed: summary.resumed_bytes,
            recopied: summary.recopied_bytes,
        }
    }

    fn and(self, other: Bytes) -> Bytes {
        // Files of holes may be larger together than anything that is stored.
        let sum = u64::saturating_add;
        Bytes {
            size: sum(self.size, other.size),
            copied: sum(self.copied, other.copied),
            cloned: sum(self.cloned, other.cloned),
            offloaded: sum(self.offloaded, other.offloaded),
            holes: sum(self.holes, other.holes),
            zeros: sum(self.zeros, other.zeros),
            unreadable: sum(self.unreadable, other.unreadable),
            resumed: sum(self.resumed, other.resumed),
            recopied: sum(self.recopied, other.recopied),
        }
    }

    /// Bytes that came by here.
    fn moved(self) -> u64 {
        let elsewhere = self.cloned.saturating_add(self.offloaded);
        self.copied.saturating_sub(elsewhere)
    }

    /// What did not take the plain way, each with a comma before it.
    fn aside(self) -> String {
        let parts = [
            ("cloned", self.cloned),
            ("offloaded", self.offloaded),
            ("zeros dropped", self.zeros),
            ("holes kept", self.holes),
            ("unreadable", self.unreadable),
            ("copied before", self.resumed),
            ("copied again", self.recopied),
        ];
        let mut text = vec![String::new()];
        let parts = parts.iter().filter(|(_, bytes)| *bytes > 0);
        text.extend(parts.map(|(what, bytes)| format!("{} {what}", human_size(*bytes))));
        text.join(", ")
    }
}

/// Says what became of each pair, and of all.
pub fn ending(jobs: &[CopyJob], arguments: &Arguments, output: &mut Output) -> Verdict {
    let json = arguments.json;
    let failed = jobs.iter().any(failed_by_itself);
    let copied = jobs.iter().filter(|job| job.succeeded()).count();
    let bytes = jobs
        .iter()
        .map(|job| Bytes::of(&job.summary()))
        .fold(Bytes::default(), Bytes::and);
    let took = jobs
        .iter()
        .map(|job| job.summary().took)
        .max()
        .unwrap_or_default();
    for job in jobs {
        let summary = job.summary();
        if json {
            pair_line(job, &summary, output);
        } else {
            pair_text(job, &summary, failed, arguments, output);
            if arguments.verbose {
                output.line(how(&summary));
            }
            if let Some(checksum) = &summary.checksum {
                let target = summary.target.to_string_lossy();
                output.line(format!("{checksum}  {}", printable(&target)));
            }
        }
        if failed_by_itself(job) {
            complain(&failure_text(job, &summary));
        }
        for path in &summary.removed_leftovers {
            complain(&format!(
                "note: removed {}, which a copy that died had left",
                path.display()
            ));
        }
        if let Some(why) = &summary.started_over {
            complain(&format!(
                "note: {} is copied from the start: {why}",
                summary.target.display()
            ));
        }
        if let Some(path) = &summary.journal {
            complain(&format!(
                "note: the journal {} is left\n  tip: `blockjob recover` with it tries to bring all targets to one side",
                path.display()
            ));
        }
        if let Some(path) = &summary.left_behind {
            complain(&format!(
                "note: the temporary file {} could not be removed\n  tip: remove it once its contents are not needed",
                path.display()
            ));
        }
    }
    let all = copied == jobs.len();
    if !all && !failed {
        let is_any = |ending| jobs.iter().any(|job| job.summary().ending == ending);
        complain(&if is_any(Ending::PartlyWritten) {
            "cancelled; a target that was written in place is partly new"
        } else if is_any(Ending::Committed) {
            "cancelled; a target that was written in place has the new contents, every other is what it was"
        } else {
            "cancelled; every target is what it was"
        });
    }
    if json {
        output.json(&SummaryLine {
            kind: "summary",
            verdict: match (all, failed) {
                (true, _) => "copied",
                (false, true) => "failed",
                (false, false) => "cancelled",
            },
            pairs: jobs.len(),
            copied_pairs: copied,
            size_bytes: bytes.size,
            copied_bytes: bytes.copied,
            cloned_bytes: bytes.cloned,
            offloaded_bytes: bytes.offloaded,
            hole_bytes: bytes.holes,
            zero_bytes: bytes.zeros,
            unreadable_bytes: bytes.unreadable,
            resumed_bytes: bytes.resumed,
            sync: arguments.sync.name(),
            durable: jobs.iter().all(|job| is_durable(&job.summary())),
            seconds: took.as_secs_f64(),
        });
    } else if jobs.len() > 1 {
        let pairs = jobs.len();
        output.line(if all {
            let amount = amount(bytes.size, took);
            let durable = arguments.sync.promise();
            format!("{pairs} pairs, {amount}{}; {durable}", bytes.aside())
        } else {
            format!("{copied} of {pairs} pairs copied")
        });
    }
    Verdict::good_if(all)
}

/// Neither success nor a cancel, its own or with its group.
fn failed_by_itself(job: &CopyJob) -> bool {
    match job.handle.outcome() {
        Some(Err(error)) => error.errno != Errno::CANCELED,
        Some(Ok(())) => !job.succeeded() && job.summary().ending != Ending::Unpivoted,
        None => false,
    }
}

fn pair_line(job: &CopyJob, summary: &Summary, output: &mut Output) {
    output.json(&PairLine {
        kind: "copy",
        job: job.handle.id(),
        source: &summary.source.to_string_lossy(),
        target: &summary.target.to_string_lossy(),
        method: summary.method.name(),
        ending: summary.ending.name(),
        error: job.failure(),
        size_bytes: summary.size_bytes,
        copied_bytes: summary.copied_bytes,
        cloned_bytes: summary.cloned_bytes,
        offloaded_bytes: summary.offloaded_bytes,
        hole_bytes: summary.hole_bytes,
        zero_bytes: summary.zero_bytes,
        unreadable_bytes: summary.unreadable_bytes,
        checksum: summary.checksum.as_deref(),
        verified: summary.verified,
        technique: summary.technique.name(),
        sync: summary.durability.name(),
        seconds: summary.took.as_secs_f64(),
        left_behind: summary
            .left_behind
            .as_ref()
            .map(|path| path.to_string_lossy().into_owned()),
        removed_leftovers: summary
            .removed_leftovers
            .iter()
            .map(|path| path.to_string_lossy().into_owned())
            .collect(),
        resumed_bytes: summary.resumed_bytes,
        passes: summary.passes,
        recopied_bytes: summary.recopied_bytes,
        started_over: summary.started_over.as_deref(),
        journal: summary
            .journal
            .as_ref()
            .map(|path| path.to_string_lossy().into_owned()),
    });
}

/// What became of an interrupted commit, for machines.
#[derive(Serialize)]
struct RecoveredLine {
    kind: &'static str,
    recovery: &'static str,
    journal: String,
    targets: Vec<String>,
    left_behind: Vec<String>,
}

/// Says what a recovery did.
pub fn recovered(recovered: &Recovered, json: bool, output: &mut Output) {
    let texts = |paths: &[PathBuf]| -> Vec<String> {
        paths
            .iter()
            .map(|path| path.to_string_lossy().into_owned())
            .collect()
    };
    let (word, what) = match recovered.recovery {
        Recovery::Finished => ("finished", "every target has the new contents"),
        Recovery::Undone => ("undone", "every target is what it was"),
        _ => (
            "undecided",
            "every target is what it was; the copy with --resume continues, without it begins anew",
        ),
    };
    if json {
        output.json(&RecoveredLine {
            kind: "recovery",
            recovery: word,
            journal: recovered.journal.to_string_lossy().into_owned(),
            targets: texts(&recovered.targets),
            left_behind: texts(&recovered.left_behind),
        });
    } else {
        for target in texts(&recovered.targets) {
            output.line(format!("{word}  {}", printable(&target)));
        }
        output.line(what);
    }
    for path in &recovered.left_behind {
        complain(&format!(
            "note: {} could not be removed\n  tip: remove it once its contents are not needed",
            path.display()
        ));
    }
}

fn pair_text(
    job: &CopyJob,
    summary: &Summary,
    group_failed: bool,
    arguments: &Arguments,
    output: &mut Output,
) {
    let pair = format!(
        "{} -> {}",
        printable(&summary.source.to_string_lossy()),
        printable(&summary.target.to_string_lossy())
    );
    let line = if job.succeeded() {
        let word = output.good("copied");
        format!(
            "{word}     {pair}: {}{}; {}",
            amount(summary.size_bytes, summary.took),
            Bytes::of(summary).aside(),
            arguments.sync.promise(),
        )
    } else {
        let word = if failed_by_itself(job) {
            output.bad("failed   ")
        } else if group_failed {
            "given up ".to_owned()
        } else {
            "cancelled".to_owned()
        };
        format!("{word}  {pair}: {}", state_of_target(summary))
    };
    output.line(line);
}

/// How a pair was copied: how its bytes got there, what became of them, and what the target is now.
fn how(summary: &Summary) -> String {
    let bytes = Bytes::of(summary);
    let moved = match bytes.moved() {
        0 if bytes.copied == 0 => "nothing to move".to_owned(),
        moved => format!("{} moved", human_size(moved)),
    };
    let disk = match summary.ending {
        Ending::Committed => on_the_disk(summary),
        _ => state_of_target(summary),
    };
    let verified = if summary.verified {
        "; read back and compared"
    } else {
        ""
    };
    let technique = summary.technique.name();
    let aside = bytes.aside();
    format!("           by {technique}: {moved}{aside}; {disk}{verified}")
}

/// What survives a power cut, of a target that was committed.
fn on_the_disk(summary: &Summary) -> &'static str {
    match summary.durability {
        Durability::None => "the kernel writes it to the disk when it likes",
        Durability::Data => "data and name are on the disk",
        Durability::Full => "source, data and name are on the disk",
    }
}

fn is_durable(summary: &Summary) -> bool {
    summary.ending == Ending::Committed && summary.durability != Durability::None
}

/// What is on the disk now.
fn state_of_target(summary: &Summary) -> &'static str {
    match summary.ending {
        Ending::Committed if summary.unreadable_bytes > 0 => {
            "the target has zeros where the source could not be read, and is whole otherwise"
        }
        Ending::Committed => "the target has the new contents",
        Ending::DurabilityUnknown(_) => {
            "committed, durability unknown: after a power cut the target may be what it was"
        }
        Ending::Stuck(_) => "the target has the new contents, though its group was undone",
        Ending::PartlyWritten => "part of the target is new, the rest is what it was",
        _ => "the target is what it was",
    }
}

fn failure_text(job: &CopyJob, summary: &Summary) -> String {
    let reason = job.failure().unwrap_or_else(|| "it never ran".to_owned());
    format!(
        "error: copying {} to {}: {reason}",
        summary.source.display(),
        summary.target.display()
    )
}

/// Size, time and their quotient.
fn amount(bytes: u64, took: Duration) -> String {
    let seconds = took.as_secs_f64();
    let size = human_size(bytes);
    if bytes == 0 || seconds < 0.000_001 {
        return size;
    }
    let rate = human_size((bytes as f64 / seconds) as u64);
    format!("{size} in {seconds:.3} s ({rate}/s)")
}
