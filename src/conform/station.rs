//! A place where one peer works: its folder of images, its process, one program after the other.
//!
//! A peer is kept as long as a program leaves nothing behind. One that diverged, or that something is left in, is
//! replaced.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use blockjob_model::Profile;
use blockjob_model::profile::REFERENCE;
use serde_json::{Value, json};

use super::conversation::{self, Conversation, Ended, Trouble};
use super::cover::Cover;
use super::divergence::{Divergence, Kind};
use super::generate::{Abilities, Maker, Provocation};
use super::image::Image;
use super::peer::{Lost, Peer, Source};
use super::program::Program;
use super::witness;
use crate::oracle::reader::json::Piece;
use crate::oracle::reader::qmp::{Peer as Greeted, read_greeting};

/// How many lines of a recording are shown where a conversation broke off.
const SHOWN: usize = 12;

/// A folder of our own, gone when this is.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// A new one where temporary files go, for nobody else to see: `TMPDIR`, or else memory where there is such a
    /// place, because jobs flush what they write, or else `/tmp`.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new() -> io::Result<Folder> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        loop {
            let now = SystemTime::now().duration_since(UNIX_EPOCH);
            let name = format!(
                "blockjob-conform-{}-{}-{}",
                std::process::id(),
                COUNT.fetch_add(1, Ordering::Relaxed),
                now.map_or(0, |now| now.subsec_nanos())
            );
            let path = place().join(name);
            match std::fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => return Ok(Folder(path)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

/// Where temporary files go.
fn place() -> PathBuf {
    let memory = Path::new("/dev/shm");
    let writable = || {
        let probe = memory.join(format!("blockjob-probe-{}", std::process::id()));
        let made = std::fs::DirBuilder::new().create(&probe).is_ok();
        let _ = std::fs::remove_dir(probe);
        made
    };
    if std::env::var_os("TMPDIR").is_none() && memory.is_dir() && writable() {
        return memory.to_owned();
    }
    std::env::temp_dir()
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed stays where temporary files go.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Who a peer is.
#[derive(Clone, Debug)]
pub struct Identity {
    /// For people: its name and version.
    pub name: String,
    /// By whose rules it is judged.
    pub profile: &'static Profile,
    /// What it can do.
    pub abilities: Abilities,
}

/// A peer at work.
struct Live {
    peer: Peer,
    opening: Vec<String>,
    identity: Identity,
    /// How much of its log was read.
    heard: u64,
}

/// How a program went.
#[derive(Debug)]
pub struct Outcome {
    /// What must not be.
    pub divergence: Option<Divergence>,
    /// What was said.
    pub ended: Ended,
    /// By whose rules.
    pub profile: &'static Profile,
}

/// The place.
pub struct Station {
    source: Source,
    profile: Option<&'static Profile>,
    limit: Duration,
    stop: Arc<AtomicBool>,
    live: Option<Live>,
    folder: Folder,
    /// How many peers were started.
    pub started: u64,
}

impl Station {
    /// A place for peers of `source`, judged by `profile`, or by that of whoever greets.
    ///
    /// # Errors
    /// There is no room for its images.
    pub fn new(
        source: &Source,
        profile: Option<&'static Profile>,
        limit: Duration,
        stop: &Arc<AtomicBool>,
    ) -> io::Result<Station> {
        Ok(Station {
            source: source.clone(),
            profile,
            limit,
            stop: Arc::clone(stop),
            live: None,
            folder: Folder::new()?,
            started: 0,
        })
    }

    /// Who works here; starts somebody where nobody does.
    ///
    /// # Errors
    /// Nobody can be started, or who was does not speak QMP.
    pub fn identity(&mut self) -> io::Result<Identity> {
        self.live().map(|live| live.identity.clone())
    }

    fn live(&mut self) -> io::Result<&mut Live> {
        let live = match self.live.take() {
            Some(live) => live,
            None => self.start()?,
        };
        Ok(self.live.insert(live))
    }

    fn start(&mut self) -> io::Result<Live> {
        let mut peer = self
            .source
            .start(self.folder.path(), self.limit, &self.stop)?;
        self.started += 1;
        let broken = |peer: Peer, lost: Lost| {
            let interrupted = lost == Lost::Interrupted;
            let what = match &lost {
                Lost::Ended => "it ended before it had greeted".to_owned(),
                Lost::Silent(limit) => {
                    format!(
                        "it did not greet or answer within {:.0} s",
                        limit.as_secs_f64()
                    )
                }
                Lost::Garbled(what) => format!("it does not speak QMP: {what}"),
                Lost::Interrupted => "interrupted".to_owned(),
            };
            let words = peer.end(lost == Lost::Ended);
            let kind = if interrupted {
                io::ErrorKind::Interrupted
            } else {
                io::ErrorKind::Other
            };
            let said: Vec<String> = words
                .status
                .into_iter()
                .chain((!words.stderr.is_empty()).then_some(words.stderr))
                .collect();
            io::Error::new(
                kind,
                if said.is_empty() {
                    what
                } else {
                    format!("{what} ({})", said.join("; "))
                },
            )
        };
        let opening = match conversation::open(&mut peer) {
            Ok(opening) => opening,
            Err(lost) => return Err(broken(peer, lost)),
        };
        let (name, greeted) = who(&opening[0]);
        let profile = self.profile.unwrap_or(match greeted {
            Greeted {
                version: Some((major, minor)),
                blockjob: false,
            } => Profile::for_qemu(major, minor),
            Greeted { .. } => &REFERENCE,
        });
        let commands = match conversation::ask(&mut peer, "query-commands") {
            Ok(commands) => commands,
            Err(lost) => return Err(broken(peer, lost)),
        };
        let commands: BTreeSet<String> = commands
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|command| Some(command["name"].as_str()?.to_owned()))
            .collect();
        let faults = match self.fails(&mut peer) {
            Ok(faults) => faults,
            Err(lost) => return Err(broken(peer, lost)),
        };
        Ok(Live {
            identity: Identity {
                name,
                profile,
                abilities: Abilities {
                    commands,
                    faults,
                    expendable: self.source.starts(),
                },
            },
            peer,
            opening,
            heard: 0,
        })
    }

    /// Whether it has nodes that fail when asked to.
    fn fails(&self, peer: &mut Peer) -> Result<bool, Lost> {
        let path = self.folder.path().join("probe.img");
        if (Image::Blank { size: 512 }).make(&path).is_err() {
            return Ok(false);
        }
        let add = json!({"execute": "blockdev-add", "id": 0, "arguments": {
            "driver": "blkdebug", "node-name": "probe",
            "inject-error": [{"event": "none", "iotype": "read", "errno": 5, "once": false}],
            "image": {"driver": "file", "filename": path}}});
        let made = asked(peer, &add)?.get("return").is_some();
        if made {
            let del =
                json!({"execute": "blockdev-del", "id": 0, "arguments": {"node-name": "probe"}});
            asked(peer, &del)?;
        }
        Ok(made)
    }

    /// Runs a program.
    ///
    /// # Errors
    /// There is no peer.
    pub fn play(&mut self, program: &Program) -> io::Result<Outcome> {
        for (name, image) in &program.files {
            image.make(&self.folder.path().join(name))?;
        }
        self.run(program.profile, |conversation, _| {
            for (place, step) in program.steps.iter().enumerate() {
                conversation.step(step, Some(place))?;
            }
            Ok(())
        })
    }

    /// Makes a program up while it runs.
    ///
    /// # Errors
    /// There is no peer.
    pub fn make(
        &mut self,
        seed: u64,
        commands: usize,
        seen: &Cover,
        abilities: &Abilities,
        provoke: Provocation,
    ) -> io::Result<(Program, Outcome)> {
        let profile = self.identity()?.profile;
        let mut maker = Maker::new(seed, abilities, profile, provoke);
        let outcome = self.run(None, |conversation, folder| {
            maker.play(conversation, commands, seen, folder)
        })?;
        Ok((maker.program().clone(), outcome))
    }

    fn run(
        &mut self,
        profile: Option<&'static Profile>,
        play: impl FnOnce(&mut Conversation<'_>, &Path) -> Result<(), Trouble>,
    ) -> io::Result<Outcome> {
        self.live()?;
        let Some(mut live) = self.live.take() else {
            return Err(io::Error::other("there is no peer"));
        };
        let folder = self.folder.path().to_owned();
        let text = folder.display().to_string();
        let profile = profile.unwrap_or(live.identity.profile);
        let mut conversation = Conversation::begin(
            &mut live.peer,
            &text,
            &live.opening,
            Some(profile),
            "the conversation",
        )?;
        let played = play(&mut conversation, &folder).and_then(|()| conversation.clear());
        let unanswered = conversation.unanswered().map(str::to_owned);
        let ended = conversation.end();
        let mut divergence = None;
        match played {
            Ok(clean) => {
                let rejected = ended.fault.as_ref().is_none_or(|fault| fault.bad);
                if rejected {
                    divergence = Some(rejection(&ended));
                } else if let Some(path) = live.peer.log() {
                    let (said, heard) = witness::hear(path, live.heard)?;
                    live.heard = heard;
                    if let Some(why) = witness::differ(&said, &ended.lives, &ended.refusals) {
                        divergence = Some(plain(Kind::Witness, why, None, &ended));
                    }
                }
                if clean && divergence.is_none() {
                    self.live = Some(live);
                }
            }
            Err(Trouble::Lost(Lost::Interrupted)) => {
                return Err(io::Error::new(io::ErrorKind::Interrupted, "interrupted"));
            }
            Err(Trouble::Rejected) => divergence = Some(rejection(&ended)),
            Err(trouble) => {
                let died = matches!(trouble, Trouble::Lost(Lost::Ended));
                let words = live.peer.end(died);
                let of_whom = match &unanswered {
                    Some(command) => format!("it had not answered {command}"),
                    None => "no command was open".to_owned(),
                };
                let (kind, message) = match trouble {
                    Trouble::Lost(Lost::Silent(limit)) => (
                        Kind::Silent,
                        format!("nothing came for {:.1} s; {of_whom}", limit.as_secs_f64()),
                    ),
                    Trouble::Lost(Lost::Garbled(what)) => {
                        (Kind::Garbled, format!("what it says is no QMP: {what}"))
                    }
                    Trouble::Flooded(messages) => (
                        Kind::Flooded,
                        format!("more than {} messages came; {of_whom}", messages - 1),
                    ),
                    Trouble::Stuck {
                        job,
                        status,
                        due,
                        waited,
                    } => {
                        let due: Vec<&str> = due.iter().map(|status| status.name()).collect();
                        (
                            Kind::Stuck,
                            format!(
                                "job '{job}' stays {status} for {:.1} s; due was {}",
                                waited.as_secs_f64(),
                                due.join(" or ")
                            ),
                        )
                    }
                    _ => (
                        Kind::Died,
                        format!(
                            "it ended ({}); {of_whom}",
                            words
                                .status
                                .as_deref()
                                .unwrap_or("it closed the connection")
                        ),
                    ),
                };
                let mut found = plain(kind, message, unanswered, &ended);
                if !words.stderr.is_empty() {
                    found.text.push_str("\n    its last words:");
                    for line in words.stderr.lines() {
                        found.text.push_str("\n      ");
                        found.text.push_str(line);
                    }
                }
                found.last_words = Some(words);
                divergence = Some(found);
            }
        }
        Ok(Outcome {
            divergence,
            ended,
            profile,
        })
    }
}

fn asked(peer: &mut Peer, command: &Value) -> Result<Value, Lost> {
    peer.send(&command.to_string());
    loop {
        let line = peer.receive()?;
        let message: Value = serde_json::from_str(line.trim())
            .map_err(|_| Lost::Garbled(line.trim().chars().take(200).collect()))?;
        if message["id"] == command["id"] {
            return Ok(message);
        }
    }
}

/// Who greets.
fn who(opening: &str) -> (String, Greeted) {
    let line: Value = serde_json::from_str(opening).unwrap_or_default();
    let version = &line["msg"]["QMP"]["version"];
    let text = line["msg"]["QMP"].to_string();
    let greeted = serde_json::from_str::<Piece<'_>>(&text).map_or(
        Greeted {
            version: None,
            blockjob: false,
        },
        read_greeting,
    );
    let package = version["package"].as_str().unwrap_or_default();
    let numbers = &version["qemu"];
    let numbers = format!(
        "{}.{}.{}",
        numbers["major"], numbers["minor"], numbers["micro"]
    );
    let name = match greeted {
        Greeted { blockjob: true, .. } => package.to_owned(),
        Greeted {
            version: Some(_), ..
        } if package.is_empty() => format!("QEMU {numbers}"),
        Greeted {
            version: Some(_), ..
        } => format!("QEMU {numbers} ({package})"),
        _ => "a peer that does not say its version".to_owned(),
    };
    (name, greeted)
}

fn rejection(ended: &Ended) -> Divergence {
    let fault = ended.fault.as_ref();
    Divergence {
        kind: Kind::Rejected,
        rule: fault.and_then(|fault| fault.rule),
        line: fault.and_then(|fault| fault.line),
        message: fault
            .and_then(|fault| fault.message.clone())
            .unwrap_or_else(|| "the oracle could not come to a verdict".to_owned()),
        text: fault.map_or_else(String::new, |fault| fault.text.clone()),
        unanswered: None,
        last_words: None,
        lines: ended.lines.clone(),
    }
}

/// A divergence that is no rejection, with what was said last.
pub(super) fn plain(
    kind: Kind,
    message: String,
    unanswered: Option<String>,
    ended: &Ended,
) -> Divergence {
    let from = ended.lines.len().saturating_sub(SHOWN);
    let mut text = format!("{kind}: {message}\n    what was said last:");
    for line in &ended.lines[from..] {
        let record: Value = serde_json::from_str(line).unwrap_or_default();
        let said = record["msg"].to_string();
        let said: String = said.chars().take(160).collect();
        text.push_str("\n      ");
        text.push_str(record["dir"].as_str().unwrap_or_default());
        text.push(' ');
        text.push_str(&said);
    }
    Divergence {
        kind,
        rule: None,
        line: None,
        message,
        text,
        unanswered,
        last_words: None,
        lines: ended.lines.clone(),
    }
}
