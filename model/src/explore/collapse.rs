//! Worlds as one machine word: each part of a world has a number, and a world is its parts' numbers.
//!
//! There are millions of worlds, and few states of each of their parts: some hundreds of a member,
//! some dozens of a transaction with the calls on it. So each state of a part is kept once, together
//! with what was found of it, and a world is told from another by one comparison.

use core::ops::Range;

use super::pack;
use crate::hash::FastMap;
use crate::property::History;
use crate::state::{Call, Group, Job, JobSpec, World};

/// A world: the numbers of its transaction and of its members, none of them 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Collapsed(u64);

impl Collapsed {
    /// The world as a number, which is not 0.
    pub(super) fn word(self) -> u64 {
        self.0
    }

    /// The world that [`Collapsed::word`] gave.
    pub(super) fn from_word(word: u64) -> Collapsed {
        Collapsed(word)
    }
}

/// One state of one member.
pub(super) struct Local {
    job: Job,
    past: History,
    /// Where what it may do by itself stands among everything of that kind, once it is known.
    pub(super) own: Option<Range<u32>>,
    /// Worlds in which that was made use of.
    pub(super) uses: u64,
    /// The verbs were tried on it while the main loop was free, and while it was busy.
    pub(super) probed: [bool; 2],
}

/// One state of a transaction and the calls under way on it.
struct Shared {
    group: Group,
    calls: Vec<Call>,
}

/// The states met of each part of a scenario's worlds.
pub(super) struct Parts {
    /// How many bits the number of a part has.
    bits: u32,
    shared: Vec<Shared>,
    shared_numbers: FastMap<u64, u32>,
    members: Vec<Member>,
}

/// The states met of one member.
struct Member {
    spec: JobSpec,
    states: Vec<Local>,
    numbers: FastMap<u64, u32>,
}

impl Parts {
    /// Nothing met yet, of members like these.
    pub(super) fn new(specs: &[JobSpec]) -> Parts {
        Parts {
            bits: u64::BITS / pack::stride(specs.len()) as u32,
            shared: Vec::new(),
            shared_numbers: FastMap::default(),
            members: specs
                .iter()
                .map(|&spec| Member {
                    spec,
                    states: Vec::new(),
                    numbers: FastMap::default(),
                })
                .collect(),
        }
    }

    /// Where the bits of a part stand.
    fn shift(&self, part: usize) -> u32 {
        self.bits * part as u32
    }

    fn mask(&self) -> u64 {
        u64::MAX >> (u64::BITS - self.bits)
    }

    /// The number of a part of a world.
    fn number(&self, world: Collapsed, part: usize) -> usize {
        (world.0 >> self.shift(part) & self.mask()) as usize - 1
    }

    fn with(&self, world: Collapsed, part: usize, number: u32) -> Collapsed {
        let shift = self.shift(part);
        Collapsed(world.0 & !(self.mask() << shift) | u64::from(number) << shift)
    }

    /// The number to give to the state of a part that comes next.
    ///
    /// # Panics
    /// With more states of a part than a number has bits for: 65,535 with three members, where the
    /// scenarios come to some hundreds.
    fn next(&self, known: usize) -> u32 {
        let number = known as u64 + 1;
        assert!(number <= self.mask(), "more states of a part than numbers");
        number as u32
    }

    /// The number of a member's state.
    pub(super) fn number_of_member(&mut self, member: usize, job: &Job, past: History) -> u32 {
        let word = pack::pack_job(job, past);
        if let Some(&number) = self.members[member].numbers.get(&word) {
            return number;
        }
        let number = self.next(self.members[member].states.len());
        let of = &mut self.members[member];
        of.states.push(Local {
            // What is not written down is left out here, too.
            job: Job {
                spec: of.spec,
                ..*job
            },
            past,
            own: None,
            uses: 0,
            probed: [false; 2],
        });
        of.numbers.insert(word, number);
        number
    }

    fn number_of_shared(&mut self, world: &World) -> u32 {
        let word = pack::pack_group(world);
        if let Some(&number) = self.shared_numbers.get(&word) {
            return number;
        }
        let number = self.next(self.shared.len());
        let (group, calls) = pack::unpack_group(word);
        self.shared.push(Shared { group, calls });
        self.shared_numbers.insert(word, number);
        number
    }

    /// A world and what has happened in it.
    pub(super) fn collapse(&mut self, world: &World, history: &[History]) -> Collapsed {
        let shared = self.number_of_shared(world);
        let mut collapsed = self.with(Collapsed(0), 0, shared);
        for (member, (job, &past)) in world.jobs.iter().zip(history).enumerate() {
            let number = self.number_of_member(member, job, past);
            collapsed = self.with(collapsed, pack::place(member), number);
        }
        collapsed
    }

    /// `world` with another state of a member.
    pub(super) fn with_member(&self, world: Collapsed, member: usize, number: u32) -> Collapsed {
        self.with(world, pack::place(member), number)
    }

    /// `world` with another state of its transaction or of the calls on it.
    pub(super) fn with_shared(&mut self, world: Collapsed, next: &World) -> Collapsed {
        let number = self.number_of_shared(next);
        self.with(world, 0, number)
    }

    /// The state of a member in `world`.
    pub(super) fn local(&mut self, world: Collapsed, member: usize) -> &mut Local {
        let number = self.number(world, pack::place(member));
        &mut self.members[member].states[number]
    }

    /// Every state met of a member.
    pub(super) fn locals(&self) -> impl Iterator<Item = &Local> {
        self.members.iter().flat_map(|member| &member.states)
    }

    /// Reads a world back.
    pub(super) fn expand(&self, from: Collapsed, world: &mut World, history: &mut [History]) {
        for (member, (job, past)) in world.jobs.iter_mut().zip(history).enumerate() {
            let local = &self.members[member].states[self.number(from, pack::place(member))];
            *job = local.job;
            *past = local.past;
        }
        let shared = &self.shared[self.number(from, 0)];
        world.group = shared.group;
        if !(world.calls.is_empty() && shared.calls.is_empty()) {
            world.calls.clone_from(&shared.calls);
        }
    }
}
