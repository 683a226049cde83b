//! Speed of the copy beside the tools people use, in one run: `cargo xtask bench copy`.
//!
//! Method: each contender is a process that makes a new target, ours too, in turn, round after round, so that a noisy
//! neighbour meets all of them; who begins moves on by one each round. Times are medians with the fastest and the
//! slowest; ratios are medians of the ratios within each round. The first round warms up, does not count, and is where
//! each target is compared with its source. *Warm* sources are in the page cache; of *cold* ones it is asked to be
//! forgotten before each run. *Synced*: the target and its name are on the disk when the time is taken; of who cannot
//! do that by itself, this program does it, which costs it no start of a process. Processor time and memory are what
//! the kernel says of the process. Read the ratios, not the seconds. It never fails by time.
//!
//! The fastest peer is the one with the lowest median of those whose result takes no more room than ours, by a twentieth.
//! Peers that are not installed are said not to be measured; `cargo xtask setup` installs them.
//!
//! `cargo bench --bench copy -- dense` measures the cases with that word in their name.
//!
//! Environment: `BLOCKJOB_BENCH_MIB` (size of the source, 1024), `BLOCKJOB_BENCH_ROUNDS` (7, of cold sources 5),
//! `BLOCKJOB_BENCH_DIR` (a folder on the file system to be measured; the system's temporary folder).

mod measure;

use blockjob::io::cache::forget;
use blockjob::io::process::wait_with_usage;
use measure::{Bound, goal, is_quick, middle};
use std::error::Error;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

type Outcome<T> = Result<T, Box<dyn Error>>;

const MIB: usize = 1 << 20;

/// What one run took.
#[derive(Clone, Copy)]
struct Took {
    wall: f64,
    processor: f64,
    memory_bytes: u64,
}

/// Where things are.
struct Place {
    source: PathBuf,
    target: PathBuf,
    /// The pairs of a group, for those who read them from a file.
    list: PathBuf,
    /// Folders that were made for targets.
    folders: usize,
}

/// How a contender makes the target.
type Make = fn(&Place) -> Command;

struct Contender {
    name: &'static str,
    make: Make,
    /// Whether it brings its target to the disk by itself, where that is asked for.
    syncs: bool,
}

fn contender(name: &'static str, make: Make) -> Contender {
    Contender {
        name,
        make,
        syncs: false,
    }
}

fn durable(name: &'static str, make: Make) -> Contender {
    Contender {
        name,
        make,
        syncs: true,
    }
}

struct Case {
    name: &'static str,
    source: &'static str,
    cold: bool,
    synced: bool,
    /// At most so much of the fastest peer's time.
    bound: f64,
    /// Ours is the first.
    contenders: Vec<Contender>,
}

fn program(name: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(name);
    command.args(arguments);
    command
}

fn ours(place: &Place, options: &[&str]) -> Command {
    let mut command = program(env!("CARGO_BIN_EXE_blockjob"), &["copy"]);
    command.args(options);
    if place.source.is_dir() {
        command.arg("--group").arg(&place.list);
    } else {
        command.arg(&place.source).arg(&place.target);
    }
    command
}

fn cp(place: &Place, options: &[&str]) -> Command {
    let mut command = program("cp", options);
    if place.source.is_dir() {
        command.arg("-r").arg(place.source.join("."));
    } else {
        command.arg(&place.source);
    }
    command.arg(&place.target);
    command
}

fn dd(place: &Place, conversion: &str) -> Command {
    let mut command = program("dd", &["bs=1M", "status=none", conversion]);
    command
        .arg(format!("if={}", place.source.display()))
        .arg(format!("of={}", place.target.display()));
    command
}

/// The fastest way of `qemu-img` that leaves the same result.
fn qemu_img(place: &Place) -> Command {
    let mut command = program("qemu-img", &["convert", "-f", "raw", "-O", "raw"]);
    command
        .args(["-W", "-m", "16"])
        .args([&place.source, &place.target]);
    command
}

fn ddrescue(place: &Place, options: &[&str]) -> Command {
    let mut command = program("ddrescue", &["--quiet"]);
    command.args(options).args([&place.source, &place.target]);
    command
}

fn rsync(place: &Place) -> Command {
    let mut command = program("rsync", &["-W", "--inplace", "-r"]);
    if place.source.is_dir() {
        command.arg(place.source.join(""));
    } else {
        command.arg(&place.source);
    }
    command.arg(&place.target);
    command
}

fn nbdcopy(place: &Place, options: &[&str]) -> Command {
    let mut command = program("nbdcopy", &["--request-size=1048576"]);
    command.args(options).args([&place.source, &place.target]);
    command
}

const UNSYNCED: &[&str] = &["--sync", "none"];

fn dense(synced: bool) -> Vec<Contender> {
    if synced {
        return vec![
            durable("blockjob --sync data", |p| ours(p, &[])),
            contender("cp --reflink=never, fsync", |p| cp(p, &["--reflink=never"])),
            durable("dd bs=1M conv=fsync", |p| dd(p, "conv=fsync")),
            contender("dd bs=1M, fsync", |p| dd(p, "iflag=fullblock")),
            contender("qemu-img convert -W, fsync", qemu_img),
            durable("nbdcopy --flush", |p| nbdcopy(p, &["--flush"])),
            contender("ddrescue, fsync", |p| ddrescue(p, &[])),
        ];
    }
    vec![
        contender("blockjob", |p| ours(p, UNSYNCED)),
        contender("cp --reflink=never", |p| cp(p, &["--reflink=never"])),
        contender("cp", |p| cp(p, &[])),
        contender("dd bs=1M", |p| dd(p, "iflag=fullblock")),
        contender("qemu-img convert -W", qemu_img),
        contender("nbdcopy", |p| nbdcopy(p, &[])),
        contender("ddrescue", |p| ddrescue(p, &[])),
    ]
}

fn sparse(synced: bool) -> Vec<Contender> {
    let own = if synced {
        durable("blockjob --sync data", |p| ours(p, &[]))
    } else {
        contender("blockjob", |p| ours(p, UNSYNCED))
    };
    vec![
        own,
        contender("cp --sparse=auto", |p| cp(p, &["--reflink=never"])),
        contender("cp --sparse=always", |p| cp(p, &["--sparse=always"])),
        contender("qemu-img convert -W", qemu_img),
        contender("nbdcopy", |p| nbdcopy(p, &[])),
    ]
}

fn zeros(synced: bool) -> Vec<Contender> {
    let own = if synced {
        durable("blockjob --sparse always", |p| {
            ours(p, &["--sparse", "always"])
        })
    } else {
        contender("blockjob --sparse always", |p| {
            ours(p, &["--sync", "none", "--sparse", "always"])
        })
    };
    vec![
        own,
        contender("cp --sparse=always", |p| cp(p, &["--sparse=always"])),
        contender("dd bs=1M conv=sparse", |p| dd(p, "conv=sparse")),
        contender("qemu-img convert -W", qemu_img),
        contender("nbdcopy", |p| nbdcopy(p, &[])),
        contender("ddrescue --sparse", |p| ddrescue(p, &["--sparse"])),
    ]
}

fn many(synced: bool) -> Vec<Contender> {
    let own = if synced {
        durable("blockjob --group", |p| ours(p, &[]))
    } else {
        contender("blockjob --group", |p| ours(p, UNSYNCED))
    };
    vec![
        own,
        contender("cp -r", |p| cp(p, &["--reflink=never"])),
        contender("rsync -r -W --inplace", rsync),
    ]
}

fn cases() -> Vec<Case> {
    let case = |name, source, synced, bound, contenders: fn(bool) -> Vec<Contender>| Case {
        name,
        source,
        cold: false,
        synced,
        bound,
        contenders: contenders(synced),
    };
    let cold = |name, synced| Case {
        cold: true,
        ..case(name, "dense", synced, 1.0, dense)
    };
    vec![
        case("dense, warm", "dense", false, 0.88, dense),
        case("dense, warm, synced", "dense", true, 1.0, dense),
        cold("dense, cold", false),
        cold("dense, cold, synced", true),
        case(
            "sparse: four times as large, a tenth data",
            "sparse",
            false,
            0.7,
            sparse,
        ),
        case("sparse, synced", "sparse", true, 1.0, sparse),
        case("zeros, dropped", "zeros", false, 1.0, zeros),
        case("zeros, dropped, synced", "zeros", true, 1.0, zeros),
        case(
            "many small files, one transaction",
            "many",
            false,
            1.0,
            many,
        ),
        case(
            "many small files, one transaction, synced",
            "many",
            true,
            1.0,
            many,
        ),
    ]
}

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name)
        .ok()
        .and_then(|value| value.parse().ok())
        .unwrap_or(default)
        .max(1)
}

/// Bytes that nothing can be saved of.
struct Noise(u64);

impl Noise {
    fn bytes(&mut self, bytes: usize) -> Vec<u8> {
        let mut all = Vec::with_capacity(bytes + 8);
        while all.len() < bytes {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            all.extend_from_slice(&self.0.to_le_bytes());
        }
        all.truncate(bytes);
        all
    }
}

/// Files of the group, and bytes of each.
const MANY: usize = 1000;
const SMALL_BYTES: usize = 16 << 10;

fn make_sources(folder: &Path, mib: usize) -> Outcome<()> {
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let mut dense = File::create(folder.join("dense"))?;
    let mut zeros = File::create(folder.join("zeros"))?;
    let blank = vec![0; MIB];
    for _ in 0..mib {
        dense.write_all(&noise.bytes(MIB))?;
        zeros.write_all(&blank)?;
    }
    let sparse = File::create(folder.join("sparse"))?;
    let size = 4 * (mib * MIB) as u64;
    sparse.set_len(size)?;
    // Runs of 64 KiB, one in ten.
    for at in (0..size).step_by(640 << 10) {
        sparse.write_all_at(&noise.bytes(64 << 10), at)?;
    }
    for file in [&dense, &zeros, &sparse] {
        file.sync_all()?;
    }
    make_many(folder, "many", MANY)
}

/// A folder of so many small files.
fn make_many(folder: &Path, name: &str, count: usize) -> Outcome<()> {
    let mut noise = Noise(0x2545_f491_4f6c_dd1d);
    let many = folder.join(name);
    std::fs::create_dir(&many)?;
    for number in 0..count {
        let file = File::create(many.join(format!("file{number:05}")))?;
        file.write_all_at(&noise.bytes(SMALL_BYTES), 0)?;
        file.sync_data()?;
    }
    Ok(())
}

/// Writes the pairs of a group, from one folder to another.
fn write_list(list: &Path, from: &Path, to: &Path) -> Outcome<()> {
    let mut text = Vec::new();
    for entry in std::fs::read_dir(from)? {
        let name = entry?.file_name();
        let (source, target) = (from.join(&name), to.join(&name));
        let pair = serde_json::json!({"source": source, "target": target});
        writeln!(text, "{pair}")?;
    }
    Ok(std::fs::write(list, text)?)
}

fn sync(path: &Path) -> Outcome<()> {
    let file = File::open(path)?;
    if path.is_dir() {
        for entry in std::fs::read_dir(path)? {
            File::open(entry?.path())?.sync_all()?;
        }
    } else if let Some(folder) = path.parent() {
        File::open(folder)?.sync_all()?;
    }
    Ok(file.sync_all()?)
}

/// Runs a command to its end, and what it took.
fn run(mut command: Command, sync_after: Option<&Path>) -> Outcome<Took> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let began = Instant::now();
    let child = command.spawn()?;
    let (status, usage) = wait_with_usage(child)?;
    if let Some(path) = sync_after.filter(|_| status.success()) {
        sync(path)?;
    }
    let wall = began.elapsed().as_secs_f64();
    if !status.success() {
        return Err(format!("{command:?}: {status}").into());
    }
    Ok(Took {
        wall,
        processor: usage.processor_time.as_secs_f64(),
        memory_bytes: usage.memory_bytes_max,
    })
}

/// What the copy needs before it begins: no target, or an empty folder for those of a group. That is a new one, and no
/// old one is removed before the end: ext4 passes over the numbers of files that were removed a short while ago, which
/// takes whoever makes many files more and more time.
fn clear(place: &mut Place) -> Outcome<()> {
    if place.source.is_dir() {
        place.folders += 1;
        place.target = place
            .target
            .with_file_name(format!("folder{}", place.folders));
        std::fs::create_dir(&place.target)?;
        write_list(&place.list, &place.source, &place.target)
    } else if place.target.exists() {
        Ok(std::fs::remove_file(&place.target)?)
    } else {
        Ok(())
    }
}

fn same_file(one: &Path, other: &Path) -> Outcome<()> {
    let differ = || format!("{} is not {}", other.display(), one.display());
    let (source, target) = (File::open(one)?, File::open(other)?);
    let size = source.metadata()?.len();
    if target.metadata()?.len() != size {
        return Err(differ().into());
    }
    let (mut a, mut b) = (vec![0; MIB], vec![0; MIB]);
    for at in (0..size).step_by(MIB) {
        let bytes = (size - at).min(MIB as u64) as usize;
        source.read_exact_at(&mut a[..bytes], at)?;
        target.read_exact_at(&mut b[..bytes], at)?;
        if a[..bytes] != b[..bytes] {
            return Err(differ().into());
        }
    }
    Ok(())
}

/// Holds the target against its source; bytes it takes.
fn compare(place: &Place) -> Outcome<u64> {
    if !place.source.is_dir() {
        same_file(&place.source, &place.target)?;
        return Ok(place.target.metadata()?.blocks() * 512);
    }
    let mut stored = 0;
    for entry in std::fs::read_dir(&place.source)? {
        let entry = entry?;
        let target = place.target.join(entry.file_name());
        same_file(&entry.path(), &target)?;
        stored += target.metadata()?.blocks() * 512;
    }
    Ok(stored)
}

/// What became of a contender.
struct Results {
    name: &'static str,
    stored: u64,
    runs: Vec<Took>,
}

fn measure_case(case: &Case, place: &mut Place, rounds: usize) -> Outcome<Vec<Results>> {
    let count = case.contenders.len();
    let mut results: Vec<_> = case
        .contenders
        .iter()
        .map(|contender| Results {
            name: contender.name,
            stored: 0,
            runs: Vec::with_capacity(rounds),
        })
        .collect();
    let mut fit = vec![true; count];
    for round in 0..=rounds {
        for turn in 0..count {
            let which = (round + turn) % count;
            if !fit[which] {
                continue;
            }
            let contender = &case.contenders[which];
            clear(place)?;
            if contender.name.starts_with("nbdcopy") {
                // It makes no file.
                File::create(&place.target)?.set_len(place.source.metadata()?.len())?;
            }
            if case.cold {
                forget(File::open(&place.source)?, 0, 0)?;
            }
            let sync_after = (case.synced && !contender.syncs).then_some(place.target.as_path());
            match run((contender.make)(place), sync_after) {
                Ok(took) if round > 0 => results[which].runs.push(took),
                Ok(_) => results[which].stored = compare(place)?,
                Err(error) => {
                    println!("  {}: not measured: {error}", contender.name);
                    fit[which] = false;
                }
            }
        }
    }
    if !place.source.is_dir() {
        clear(place)?;
    }
    Ok(results)
}

fn walls(result: &Results) -> impl Iterator<Item = f64> {
    result.runs.iter().map(|took| took.wall)
}

/// The median of the ratios within each round.
fn ratio(ours: &Results, theirs: &Results, of: fn(&Took) -> f64) -> f64 {
    let rounds = ours.runs.iter().zip(&theirs.runs);
    middle(rounds.map(|(ours, theirs)| of(ours) / of(theirs)))
}

/// Prints a case, and its goals. Most memory that we had.
fn report(case: &Case, mut results: Vec<Results>, rounds: usize) -> u64 {
    results.retain(|result| result.runs.len() == rounds);
    println!("\n{}", case.name);
    println!(
        "  {:<28} {:>8} {:>17} {:>8} {:>8} {:>10} {:>10}",
        "", "wall s", "fastest..slowest", "cpu s", "MiB", "our time", "our cpu"
    );
    let Some((ours, theirs)) = results.split_first() else {
        return 0;
    };
    for result in &results {
        let (least, most) = walls(result).fold((f64::INFINITY, 0.0_f64), |(least, most), wall| {
            (least.min(wall), most.max(wall))
        });
        println!(
            "  {:<28} {:>8.3} {:>8.3}..{:<7.3} {:>8.3} {:>8} {:>10.2} {:>10.2}",
            result.name,
            middle(walls(result)),
            least,
            most,
            middle(result.runs.iter().map(|took| took.processor)),
            result.stored >> 20,
            ratio(ours, result, |took| took.wall),
            ratio(ours, result, |took| took.processor),
        );
    }
    let fastest = theirs
        .iter()
        .filter(|peer| peer.stored <= ours.stored + ours.stored / 20 + MIB as u64)
        .min_by(|one, other| middle(walls(one)).total_cmp(&middle(walls(other))));
    if let Some(fastest) = fastest {
        goal(
            &format!("{}: time", case.name),
            ratio(ours, fastest, |took| took.wall),
            Bound::AtMost(case.bound),
            " of the fastest peer's",
            fastest.name,
        );
    }
    let qemu = theirs.iter().find(|peer| peer.name.starts_with("qemu-img"));
    if let Some(qemu) = qemu {
        goal(
            &format!("{}: processor time", case.name),
            ratio(ours, qemu, |took| took.processor),
            Bound::AtMost(1.0),
            " of qemu-img's",
            qemu.name,
        );
    }
    ours.runs
        .iter()
        .map(|took| took.memory_bytes)
        .max()
        .unwrap_or(0)
}

/// Time of a group by its size: twice as many files should take twice as long. Made new, then replaced.
fn scaling(scratch: &Path, quick: bool) -> Outcome<()> {
    println!("\ngroups of small files by their number, not synced: microseconds a file");
    println!(
        "  {:>8} {:>12} {:>12} {:>12} {:>12}",
        "files", "new", "new, cpu", "replaced", "replaced, cpu"
    );
    let counts: &[usize] = if quick {
        &[250, 1000]
    } else {
        &[500, 1000, 2000, 4000]
    };
    let mut each = Vec::new();
    for &count in counts {
        let name = format!("many{count}");
        let folder = scratch.join(format!("group-of-{count}"));
        std::fs::create_dir(&folder)?;
        let mut place = Place {
            source: folder.join(&name),
            target: folder.join("target"),
            list: folder.join("list"),
            folders: 0,
        };
        make_many(&folder, &name, count)?;
        clear(&mut place)?;
        let new = run(ours(&place, UNSYNCED), None)?;
        let again = run(ours(&place, UNSYNCED), None)?;
        let micros = |seconds: f64| seconds * 1e6 / count as f64;
        println!(
            "  {count:>8} {:>12.0} {:>12.0} {:>12.0} {:>12.0}",
            micros(new.wall),
            micros(new.processor),
            micros(again.wall),
            micros(again.processor),
        );
        each.push(micros(new.processor + again.processor));
    }
    goal(
        "a group's processor time a file, largest group to smallest",
        each[each.len() - 1] / each[0],
        Bound::AtMost(1.5),
        " times",
        &format!("{} files beside {}", counts[counts.len() - 1], counts[0]),
    );
    Ok(())
}

/// Most memory in use, whatever the size: of files that are nothing but large, too.
fn memory(scratch: &Path, seen: u64) -> Outcome<()> {
    let mut place = Place {
        source: scratch.join("huge"),
        target: scratch.join("target"),
        list: PathBuf::new(),
        folders: 0,
    };
    let huge = File::create(&place.source)?;
    let size = 1_u64 << 43;
    huge.set_len(size)?;
    for at in (0..size).step_by(1 << 31) {
        huge.write_all_at(&[1; 4096], at)?;
    }
    drop(huge);
    clear(&mut place)?;
    let took = run(ours(&place, UNSYNCED), None)?;
    clear(&mut place)?;
    std::fs::remove_file(&place.source)?;
    let most = seen.max(took.memory_bytes) as f64 / MIB as f64;
    println!("\nmemory of a copy");
    goal(
        "most memory",
        most,
        Bound::AtMost(64.0),
        " MiB",
        "all cases above, and a file of 8 TiB with 4096 pieces of data",
    );
    Ok(())
}

fn main() -> Outcome<()> {
    // `cargo bench` says `--bench`; `cargo test --all-targets` runs the file too and only wants to know that it can.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    let quick = is_quick();
    let mib = setting("BLOCKJOB_BENCH_MIB", if quick { 256 } else { 1024 });
    let rounds = setting("BLOCKJOB_BENCH_ROUNDS", if quick { 3 } else { 7 });
    let scratch = match std::env::var_os("BLOCKJOB_BENCH_DIR") {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    let scratch = scratch.path();
    make_sources(scratch, mib)?;
    println!("{mib} MiB, {rounds} rounds, interleaved, medians, new target each time");
    let wanted = std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-'))
        .unwrap_or_default();
    let (mut memory_bytes, mut folders) = (0, 0);
    for case in cases()
        .into_iter()
        .filter(|case| case.name.contains(&wanted))
    {
        let mut place = Place {
            source: scratch.join(case.source),
            target: scratch.join("target"),
            list: scratch.join("list"),
            folders,
        };
        let rounds = if case.cold { rounds.min(5) } else { rounds };
        let results = measure_case(&case, &mut place, rounds)?;
        folders = place.folders;
        memory_bytes = memory_bytes.max(report(&case, results, rounds));
    }
    if "scaling".contains(&wanted) {
        scaling(scratch, quick)?;
    }
    if "memory".contains(&wanted) {
        memory(scratch, memory_bytes)?;
    }
    Ok(())
}
