//! A place where one peer works: its folder of images, its process, one program after the other.
//!
//! A peer is kept as long as a program leaves nothing behind. One that diverged, or that something is left in, is
//! replaced.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use blockjob_model::Profile;

use super::conversation::{Conversation, Ended, Trouble};
use super::cover::Cover;
use super::divergence::{Divergence, Kind};
use super::folder::Folder;
use super::generate::{Abilities, Maker, Provocation};
use super::identity::{self, Identity};
use super::peer::{Lost, Peer, Source};
use super::program::Program;
use super::witness;

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
        match identity::introduce(&mut peer, self.profile, self.folder.path()) {
            Ok((opening, mut identity)) => {
                identity.abilities.expendable = self.source.starts();
                Ok(Live {
                    peer,
                    opening,
                    identity,
                    heard: 0,
                })
            }
            Err(lost) => Err(identity::stranger(peer, &lost)),
        }
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
                    divergence = Some(Divergence::rejection(&ended));
                } else if let Some(path) = live.peer.log() {
                    let (said, heard) = witness::hear(path, live.heard)?;
                    live.heard = heard;
                    if let Some(why) = witness::differ(&said, &ended.lives, &ended.refusals) {
                        divergence = Some(Divergence::new(Kind::Witness, why, None, &ended));
                    }
                }
                if clean && divergence.is_none() {
                    self.live = Some(live);
                }
            }
            Err(Trouble::Lost(Lost::Interrupted)) => {
                return Err(io::Error::new(io::ErrorKind::Interrupted, "interrupted"));
            }
            Err(Trouble::Rejected) => divergence = Some(Divergence::rejection(&ended)),
            Err(trouble) => {
                let died = matches!(trouble, Trouble::Lost(Lost::Ended));
                let words = live.peer.end(died);
                let found = Divergence::of_trouble(&trouble, unanswered, words, &ended);
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
