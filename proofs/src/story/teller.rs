//! Who tells the story: the hook that every panic of a harness comes to.
//!
//! A rule that the judge found broken, an assertion of the engine or of a driver, and a thread that
//! nobody wakes all end as a panic under the tool, in the execution they belong to. The hook lays
//! out the record of that execution, prints it, and writes its page. A process that plays harnesses
//! ends there ([`end_after_the_story`]): nothing that the tool says of the wreck is of use.

use std::panic::PanicHookInfo;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};
use std::{env, fs, io, thread};

use super::{DEADLOCK, Fault, Origin, Story, about, page};
use crate::harness::Case;
use crate::judge::Judge;
use crate::record::{Record, Recorder};

/// The exit code of a process that ended with a story; that of a panic.
pub const FAILED: i32 = 101;

/// Where the pages go, if not to `target/proofs`.
pub const PAGES: &str = "BLOCKJOB_PROOFS_PAGES";

/// What is played now.
#[derive(Clone)]
pub struct Scene {
    /// Where it comes from; the case's words and the execution are filled in when they are needed.
    pub origin: Origin,
    /// What is played.
    pub case: Case,
    /// Who has its record.
    pub recorder: Arc<Recorder>,
    /// How many executions have begun.
    pub executions: Arc<AtomicU64>,
}

static SCENE: Mutex<Option<Scene>> = Mutex::new(None);
static FAULT: Mutex<Option<Fault>> = Mutex::new(None);
static ENDS: AtomicBool = AtomicBool::new(false);

/// What the panic of a broken rule says before the rule's name.
pub const NOT_ALLOWED: &str = "the specification does not allow this execution: ";

static QUIET: AtomicBool = AtomicBool::new(false);

/// Whether nothing is told of a panic: somebody else looks at it.
pub fn quietly(quiet: bool) {
    QUIET.store(quiet, Ordering::Relaxed);
}

/// The process ends with the first story.
pub fn end_after_the_story() {
    ENDS.store(true, Ordering::Relaxed);
}

/// Says what is played from now on.
pub fn set(scene: Scene) {
    *SCENE.lock().unwrap_or_else(PoisonError::into_inner) = Some(scene);
}

/// Nothing is played any more.
pub fn clear() {
    *SCENE.lock().unwrap_or_else(PoisonError::into_inner) = None;
}

/// Another case of the same scene.
pub fn set_case(case: &Case) {
    if let Some(scene) = SCENE
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .as_mut()
    {
        scene.case = case.clone();
    }
}

/// Ends the execution with what the judge found.
///
/// # Panics
///
/// Always: that is how an execution ends early under the tools.
pub fn fail(fault: Fault) -> ! {
    let rule = fault.rule.clone();
    *FAULT.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
    panic!("{NOT_ALLOWED}{rule}");
}

/// Sees to it that panics come here first. Under loom this has to happen before the first
/// execution: its threads end by panics, which a hook of its own keeps from ours. shuttle's own
/// hook speaks before the one it found, so that there ours comes last.
pub fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if QUIET.load(Ordering::Relaxed) {
                return;
            }
            let told = tell(panic);
            if told && ENDS.load(Ordering::Relaxed) {
                std::process::exit(FAILED);
            }
            before(panic);
        }));
    });
}

/// Tells the story of the execution that panics; `false` if there is none to tell.
fn tell(panic: &PanicHookInfo<'_>) -> bool {
    // Whoever panics while it holds one of these is not kept waiting for itself.
    let Ok(scene) = SCENE.try_lock().map(|scene| scene.clone()) else {
        return false;
    };
    let Some(scene) = scene else {
        return false;
    };
    let Some(record) = scene.recorder.try_copy() else {
        return false;
    };
    let found = FAULT.try_lock().ok().and_then(|mut fault| fault.take());
    let words = Words::of(panic);
    // The tool's stacks are small; this one is not.
    let teller = thread::spawn(move || {
        let fault = found.unwrap_or_else(|| fault(&scene.case, &record, words));
        let mut origin = scene.origin;
        origin.about = about::case(&scene.case);
        origin.execution = scene.executions.load(Ordering::Relaxed);
        let story = Story::tell(origin, &record, fault);
        eprint!("{story}");
        if story.origin.harness.is_empty() {
            return;
        }
        match write(&story, &pages()) {
            Ok(path) => eprintln!("the same as a page: {}", path.display()),
            Err(error) => eprintln!("the page could not be written: {error}"),
        }
    });
    teller.join().is_ok()
}

/// The folder of the pages.
pub fn pages() -> PathBuf {
    env::var_os(PAGES).map_or_else(|| Path::new("target/proofs").to_owned(), PathBuf::from)
}

/// Writes the page of a story into a folder; where it is.
///
/// # Errors
///
/// The folder or the page cannot be written.
pub fn write(story: &Story, folder: &Path) -> io::Result<PathBuf> {
    fs::create_dir_all(folder)?;
    let path = folder.join(format!("{}.html", story.origin.harness));
    fs::write(&path, page::html(story))?;
    Ok(fs::canonicalize(&path).unwrap_or(path))
}

/// What a panic says.
struct Words {
    text: String,
    place: Option<String>,
}

impl Words {
    fn of(panic: &PanicHookInfo<'_>) -> Words {
        let payload = panic.payload();
        let text = payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned());
        Words {
            text: text.unwrap_or_else(|| "a panic without words".to_owned()),
            place: panic
                .location()
                .map(|at| format!("{}:{}", at.file(), at.line())),
        }
    }

    /// The rule, and what happened.
    fn rule(self) -> (String, String) {
        let Words { text, place } = self;
        if text.starts_with("deadlock") {
            return (
                DEADLOCK.to_owned(),
                "nobody can go on, and not everybody is done".to_owned(),
            );
        }
        if text.contains("exceeded maximum number of branches") || text.contains("max_steps bound")
        {
            return (
                "endless".to_owned(),
                "it goes on and on: somebody waits by looking again and again".to_owned(),
            );
        }
        let place = place.unwrap_or_default();
        let whose = if place.starts_with("src/") || place.contains("/src/engine/") {
            "the engine's own assertion"
        } else {
            "an assertion of the harness"
        };
        (whose.to_owned(), format!("{text}\nat {place}"))
    }
}

/// What is wrong with an execution that a panic ended: the first rule it broke before, if it
/// did, else the panic.
fn fault(case: &Case, record: &Record, words: Words) -> Fault {
    let (rule, message) = words.rule();
    if !case.is_judged() {
        return Fault {
            rule,
            message,
            ..Fault::default()
        };
    }
    match Judge::new().so_far(&case.cast(), &record.entries) {
        Ok(allowed) => Fault {
            rule,
            message,
            allowed,
            ..Fault::default()
        },
        Err(fault) => Fault {
            ending: Some(format!("{rule}: {message}")),
            ..*fault
        },
    }
}
