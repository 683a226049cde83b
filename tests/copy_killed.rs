//! Goal: a copy that is killed at any moment leaves every target whole, and the ways on (a resume, a recovery, a plain
//! copy) bring it to its end, with nothing left beside the targets and nothing copied twice that need not be.
//! Method: the command is killed with SIGKILL after a time drawn at random, up to somewhat more than a whole run takes,
//! so that every part of it is met; then one of the ways, drawn too. Where it is killed is the machine's affair, what
//! must hold afterwards does not depend on it. The files are in memory where that can be had, so that the disk's speed
//! is not in the way.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod cli_support;

use cli_support::{Ran, assert_valid, schema};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Numbers that the seed decides.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

fn program() -> Command {
    Command::new(snapbox::cmd::cargo_bin!("blockjob"))
}

/// Files to be copied, in two folders.
struct Ground {
    root: TempDir,
    pairs: Vec<(PathBuf, PathBuf)>,
    olds: Vec<Option<Vec<u8>>>,
    options: &'static [&'static str],
    /// Named by an option, and then written from the start.
    named: bool,
}

fn in_memory() -> TempDir {
    tempfile::tempdir_in("/dev/shm")
        .or_else(|_| tempfile::tempdir())
        .unwrap()
}

fn pattern(bytes: usize, seed: u64) -> Vec<u8> {
    // A block at random, stamped with its number.
    let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let block: Vec<u8> = (0..4088 / 8)
        .flat_map(|_| random.below(u64::MAX).to_le_bytes())
        .collect();
    let mut all = Vec::with_capacity(bytes + 4096);
    for number in 0..bytes.div_ceil(4096) as u64 {
        all.extend(number.to_le_bytes());
        all.extend(&block);
    }
    all.truncate(bytes);
    all
}

impl Ground {
    fn new(sizes: &[usize], options: &'static [&'static str]) -> Self {
        let root = in_memory();
        let (mut pairs, mut olds) = (Vec::new(), Vec::new());
        for folder in ["one", "other"] {
            fs::create_dir(root.path().join(folder)).unwrap();
        }
        for (index, size) in sizes.iter().enumerate() {
            let folder = root
                .path()
                .join(if index % 3 == 2 { "other" } else { "one" });
            let source = folder.join(format!("source{index}"));
            let target = folder.join(format!("target{index}"));
            fs::write(&source, pattern(*size, index as u64 + 1)).unwrap();
            let old = (index % 2 == 0).then(|| format!("old {index}").into_bytes());
            if let Some(old) = &old {
                fs::write(&target, old).unwrap();
            }
            pairs.push((source, target));
            olds.push(old);
        }
        Self {
            root,
            pairs,
            olds,
            options,
            named: false,
        }
    }

    fn with_a_named_journal(mut self) -> Self {
        self.named = true;
        self
    }

    /// The targets as they were, and nothing beside them.
    fn reset(&self) {
        for ((_, target), old) in self.pairs.iter().zip(&self.olds) {
            match old {
                Some(old) => {
                    fs::remove_file(target).unwrap();
                    fs::write(target, old).unwrap();
                }
                None => fs::remove_file(target).unwrap(),
            }
        }
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = program();
        command
            .arg("copy")
            .arg("--json")
            .args(self.options)
            .args(more);
        if self.named {
            command.arg("--journal").arg(self.journal());
        }
        for (source, target) in &self.pairs {
            command.arg("--pair").args([source, target]);
        }
        command
    }

    fn run(&self, more: &[&str]) -> Ran {
        Ran::from(self.command(more).output().unwrap())
    }

    /// Starts it and kills it after so long, or so long after it has a journal. Whether it was killed.
    fn kill_after(&self, time: Duration, journal: bool) -> bool {
        let mut child = self
            .command(&[])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while journal && !self.journal().exists() && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        std::thread::sleep(time);
        child.kill().unwrap();
        child.wait().unwrap().code().is_none()
    }

    /// Which targets are new; each is whole.
    #[track_caller]
    fn news(&self) -> Vec<bool> {
        let one = |((source, target), old): (&(PathBuf, PathBuf), &Option<Vec<u8>>)| {
            let now = fs::read(target).ok();
            let new = now == Some(fs::read(source).unwrap());
            assert!(
                new || now == *old,
                "{} is neither what it was nor the copy",
                target.display()
            );
            new
        };
        self.pairs.iter().zip(&self.olds).map(one).collect()
    }

    #[track_caller]
    fn all(&self, new: bool) {
        assert!(self.news().iter().all(|is_new| *is_new == new), "not all");
    }

    #[track_caller]
    fn nothing_beside(&self) {
        for folder in ["one", "other"] {
            for entry in fs::read_dir(self.root.path().join(folder)).unwrap() {
                let path = entry.unwrap().path();
                let known =
                    |(source, target): &(PathBuf, PathBuf)| *source == path || *target == path;
                assert!(self.pairs.iter().any(known), "{} is left", path.display());
            }
        }
    }

    fn journal(&self) -> PathBuf {
        if self.named {
            return self.root.path().join("journal");
        }
        let (_, first) = &self.pairs[0];
        let name = first.file_name().unwrap().to_str().unwrap();
        first.with_file_name(format!(".{name}.blockjob-journal"))
    }

    fn recover(&self) -> Ran {
        let journal = self.journal();
        Ran::from(
            program()
                .args(["recover", "--json"])
                .arg(journal)
                .output()
                .unwrap(),
        )
    }
}

/// What was met.
#[derive(Debug, Default)]
struct Met {
    killed: u64,
    mixed: u64,
    finished: u64,
    undone: u64,
    undecided: u64,
    resumed: u64,
    resumed_bytes: u64,
}

impl Met {
    fn recovery(&mut self, lines: &[Value], ground: &Ground) {
        let copies = schema("copy");
        for line in lines {
            assert_valid(&copies, line);
        }
        match lines[0]["recovery"].as_str().unwrap() {
            "finished" => {
                self.finished += 1;
                ground.all(true);
            }
            "undone" => {
                self.undone += 1;
                ground.all(false);
            }
            _ => {
                self.undecided += 1;
                ground.all(false);
            }
        }
    }

    /// Goes on after a kill, in one of three ways.
    fn go_on(&mut self, ground: &Ground, way: u64) {
        let news = ground.news();
        let mixed = news.iter().any(|new| *new != news[0]);
        self.mixed += u64::from(mixed);
        if way == 1 && ground.journal().exists() {
            let ran = ground.recover();
            assert_eq!(ran.code, 0, "{ran:?}");
            self.recovery(&ran.json(), ground);
        }
        let mut ran = ground.run(if way == 0 { &["--resume"] } else { &[] });
        if ran.code == 2 {
            assert_ne!(way, 0, "a resume recovers by itself: {ran:?}");
            ran.says(&["interrupted", "blockjob recover"]);
            assert_eq!(ground.news(), news, "refused, and something changed");
            let recovered = ground.recover();
            assert_eq!(recovered.code, 0, "{recovered:?}");
            self.recovery(&recovered.json(), ground);
            ran = ground.run(&[]);
        } else if mixed {
            assert_ne!(way, 2, "a plain copy to mixed targets: {ran:?}");
        }
        assert_eq!(ran.code, 0, "{ran:?}");
        for line in ran.json() {
            if line["kind"] == "recovery" {
                self.finished += u64::from(line["recovery"] == "finished");
            }
            let bytes = line["resumed_bytes"].as_u64().unwrap_or(0);
            self.resumed += u64::from(bytes > 0);
            self.resumed_bytes += bytes;
        }
        ground.all(true);
        ground.nothing_beside();
    }
}

/// Kills so many copies of a ground.
fn kill(ground: &Ground, kills: u64, seed: u64) -> Met {
    let mut random = Random(seed);
    let mut met = Met::default();
    let begin = Instant::now();
    assert_eq!(ground.run(&[]).code, 0);
    let mut whole = begin.elapsed();
    while met.killed < kills {
        ground.reset();
        // Every second time what comes with the journal: for a group, the decision and the exchange of names.
        let late = random.below(2) == 0;
        let time = if late {
            Duration::from_micros(random.below(3000))
        } else {
            whole.mul_f64(random.below(1200) as f64 / 1000.0)
        };
        if ground.kill_after(time, late) {
            met.killed += 1;
        } else if !late {
            // Faster than it was at first: else it would be killed for ever after its end.
            whole = whole.mul_f64(0.97).max(Duration::from_millis(2));
        }
        met.go_on(ground, random.below(3));
    }
    eprintln!("seed {seed}: {met:?}");
    met
}

/// One pair, large enough to be continued, whose journal is written from the start.
fn one_large() -> Ground {
    Ground::new(&[24 << 20], &["--chunk", "64K"]).with_a_named_journal()
}

/// Many small ones, so that much of the run is the commit.
fn many_small() -> Ground {
    Ground::new(&[3000; 60], &["--workers", "1"])
}

#[test]
fn killed_at_random() {
    kill(&many_small(), 30, 0x5eed_0001);
    kill(&one_large(), 10, 0x5eed_0002);
}

#[test]
#[ignore = "minutes: 1,100 kills"]
fn killed_more_than_a_thousand_times() {
    let group = kill(&many_small(), 1000, 0x5eed_0003);
    assert!(group.mixed > 0, "no kill met the exchange of names");
    assert!(group.finished > 0 && group.undecided > 0);
    let large = kill(&one_large(), 100, 0x5eed_0004);
    assert!(large.resumed > 0, "no kill left anything to continue");
}

const SIZE: usize = 24 << 20;

/// Kills a slow copy of one file once it has a journal; `grown`, once that says what was written.
fn killed_in_the_middle(grown: bool) -> Ground {
    let ground = Ground::new(&[SIZE], &["--chunk", "64K"]).with_a_named_journal();
    let mut child = ground
        .command(&["--speed", "12M"])
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let length = || fs::metadata(ground.journal()).map_or(0, |found| found.len());
    let mut wait = |more: u64| {
        while length() <= more {
            let ended: Option<_> = Child::try_wait(&mut child).unwrap();
            assert!(ended.is_none(), "it ended before");
            std::thread::sleep(Duration::from_millis(1));
        }
        length()
    };
    let first = wait(0);
    if grown {
        wait(first);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    ground
}

#[test]
fn what_was_written_is_not_copied_again() {
    let ground = killed_in_the_middle(true);
    let ran = ground.run(&["--resume"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    ground.all(true);
    ground.nothing_beside();
    assert!(!ground.journal().exists());
    let line = &ran.json()[0];
    assert_eq!(line["started_over"], Value::Null);
    let bytes = |key: &str| line[key].as_u64().unwrap();
    assert!(bytes("resumed_bytes") >= 8 << 20, "{line}");
    assert_eq!(bytes("resumed_bytes") + bytes("copied_bytes"), SIZE as u64);
}

#[test]
fn a_source_or_a_temporary_that_changed_is_not_trusted() {
    type Change = fn(&Ground);
    let changes: [(&str, Change); 6] = [
        ("written meanwhile", |ground| {
            let (source, _) = &ground.pairs[0];
            let bytes = pattern(SIZE, 99);
            fs::write(source, bytes).unwrap();
        }),
        ("metadata was changed", |ground| {
            let (source, _) = &ground.pairs[0];
            let permissions = fs::metadata(source).unwrap().permissions();
            fs::set_permissions(source, permissions).unwrap();
        }),
        ("another file", |ground| {
            let (source, _) = &ground.pairs[0];
            let moved = ground.root.path().join("moved");
            fs::copy(source, &moved).unwrap();
            fs::rename(moved, source).unwrap();
        }),
        ("not what it was", |ground| {
            let temporary = temporary(ground);
            let bytes = fs::read(&temporary).unwrap();
            fs::remove_file(&temporary).unwrap();
            fs::write(&temporary, bytes).unwrap();
        }),
        ("cannot be opened", |ground| {
            let temporary = temporary(ground);
            fs::remove_file(&temporary).unwrap();
            std::os::unix::fs::symlink(&ground.pairs[0].0, temporary).unwrap();
        }),
        ("nothing to continue", |ground| {
            fs::remove_file(ground.journal()).unwrap();
        }),
    ];
    for (words, change) in changes {
        let ground = killed_in_the_middle(false);
        change(&ground);
        let ran = ground.run(&["--resume"]);
        assert_eq!(ran.code, 0, "{words}: {ran:?}");
        ground.all(true);
        ran.says(&["is copied from the start", words]);
        assert_eq!(ran.json()[0]["resumed_bytes"], 0, "{words}");
    }
}

fn temporary(ground: &Ground) -> PathBuf {
    let name = |path: &PathBuf| path.to_str().unwrap().contains(".blockjob-");
    let folder = ground.pairs[0].1.parent().unwrap();
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(name)
        .find(|path| !path.to_str().unwrap().ends_with("journal"))
        .unwrap()
}

#[test]
fn a_journal_that_cannot_be_one_is_refused_and_kept() {
    let ground = Ground::new(&[1000], &[]).with_a_named_journal();
    let journal = ground.journal();
    let run = |words: &[&str]| {
        for more in [&[] as &[&str], &["--resume"]] {
            ground.run(more).refused(words);
        }
        Ran::from(program().arg("recover").arg(&journal).output().unwrap()).refused(words);
        ground.all(false);
        ground.nothing_beside();
    };
    fs::write(&journal, "a shopping list").unwrap();
    run(&["no journal", "--journal"]);
    assert_eq!(fs::read(&journal).unwrap(), b"a shopping list");
    fs::write(&journal, [0; 4096]).unwrap();
    run(&["no journal"]);
    fs::remove_file(&journal).unwrap();
    std::os::unix::fs::symlink(&ground.pairs[0].0, &journal).unwrap();
    run(&["symbolic link"]);
    fs::remove_file(&journal).unwrap();
    Ran::from(program().arg("recover").arg(&journal).output().unwrap())
        .refused(&["does not exist"]);
}
