//! Goal: whatever clients ask for, in whatever order, what they are told is what the specification allows.
//!
//! Method: random programs of commands, some of which make no sense, are sent to `blockjob serve` by one client or two,
//! pipelined or not; each conversation, and the server's own trace, is judged by the oracle. The seed is printed;
//! `BLOCKJOB_SEED` and `BLOCKJOB_PROGRAMS` say with which to begin, and how many.

#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used)]

mod serve_support;

use blockjob::oracle::Observer;
use serde_json::{Value, json};
use serve_support::{Client, Peer, judge_trace};

const PROGRAMS: u64 = 40;
const COMMANDS: usize = 60;
const DISKS: usize = 6;

/// xorshift64*: a program can be made again from its seed.
struct Dice {
    state: u64,
    /// How many ids each client has used.
    made: [usize; 2],
}

impl Dice {
    fn new(seed: u64) -> Dice {
        // Never zero, and seeds that follow each other are far apart.
        Dice {
            state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            made: [0; 2],
        }
    }

    fn roll(&mut self, sides: usize) -> usize {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        (self.state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % sides
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.roll(one_in) == 0
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.roll(of.len())]
    }

    /// The id of the next job of this client: a new one, as an id that becomes free between the call and its judgement is
    /// one that the oracle does not expect in a native trace.
    fn new_id(&mut self, client: usize) -> String {
        self.made[client] += 1;
        format!("{}{}", ["a", "b"][client], self.made[client])
    }

    /// The id of one of the last jobs, of whatever client, or of none yet.
    fn id(&mut self) -> String {
        let client = self.roll(8) / 7;
        let back = self.roll(5);
        format!(
            "{}{}",
            ["a", "b"][client],
            (self.made[client] + 1).saturating_sub(back)
        )
    }

    /// Arguments of a job, alone or in a transaction.
    fn job(&mut self, client: usize) -> Value {
        let node = |dice: &mut Dice| match dice.roll(8) {
            0 => "bad-read".to_owned(),
            1 => "bad-write".to_owned(),
            number => format!("d{}", number % DISKS),
        };
        let policies = ["report", "ignore", "enospc", "stop", "auto"];
        let mut job = json!({
            "job-id": self.new_id(client), "device": node(self), "target": node(self),
            "sync": self.pick(&["full", "full", "full", "top", "none"]),
        });
        for name in ["on-source-error", "on-target-error"] {
            if self.chance(2) {
                job[name] = json!(self.pick(&policies));
            }
        }
        if self.chance(2) {
            job["speed"] = json!(self.pick(&[1_000_000, 65536, 1, -1]));
        }
        for name in ["auto-finalize", "auto-dismiss"] {
            if self.chance(2) {
                job[name] = json!(self.chance(2));
            }
        }
        job
    }

    fn command(&mut self, client: usize) -> (&'static str, Value) {
        let id = self.id();
        match self.roll(24) {
            0..=2 => ("blockdev-backup", self.job(client)),
            3..=5 => ("blockdev-mirror", self.job(client)),
            6 | 7 => {
                let mut actions = Vec::new();
                for _ in 0..=self.roll(3) {
                    actions.push(if self.chance(12) {
                        json!({"type": "abort", "data": {}})
                    } else {
                        json!({"type": "blockdev-backup", "data": self.job(client)})
                    });
                }
                let mode = self.pick(&["grouped", "individual"]);
                (
                    "transaction",
                    json!({"actions": actions, "properties": {"completion-mode": mode}}),
                )
            }
            8 | 9 => ("query-jobs", json!({})),
            10 => ("query-block-jobs", json!({})),
            11 => {
                let speed = self.pick(&[0, 0, 65536, 1 << 20, -1]);
                ("block-job-set-speed", json!({"device": id, "speed": speed}))
            }
            12 => (
                "block-job-cancel",
                json!({"device": id, "force": self.chance(2)}),
            ),
            13 => ("block-job-cancel", json!({"device": id})),
            14 => ("block-job-pause", json!({"device": id})),
            15 => ("block-job-resume", json!({"device": id})),
            16 => ("block-job-complete", json!({"device": id})),
            17 => ("block-job-finalize", json!({"id": id})),
            verb => {
                let verbs = [
                    "job-cancel",
                    "job-pause",
                    "job-resume",
                    "job-complete",
                    "job-finalize",
                    "job-dismiss",
                ];
                (verbs[verb - 18], json!({"id": id}))
            }
        }
    }
}

/// A server with disks, of which two fail now and then, and clients.
fn begin(dice: &mut Dice, clients: usize) -> (Peer, Vec<Client>) {
    let peer = Peer::serve(&["--trace", "trace.jsonl"]);
    let mut clients: Vec<Client> = (0..clients).map(|_| peer.client()).collect();
    for number in 0..DISKS {
        let name = format!("d{number}");
        peer.image(&name, 200_000, number as u8);
        clients[0].node(&peer, &name);
    }
    for (name, event, image) in [
        ("bad-read", "read_aio", "d0"),
        ("bad-write", "write_aio", "d1"),
    ] {
        let mut rules = vec![json!({"event": event, "errno": 28, "once": true})];
        if dice.chance(2) {
            rules.push(json!({"event": event, "once": true, "sector": 200}));
        }
        if dice.chance(4) {
            rules.push(json!({"event": event, "sector": 300}));
        }
        clients[0].done(
            "blockdev-add",
            json!({"driver": "blkdebug", "node-name": name, "image": image, "inject-error": rules}),
        );
    }
    (peer, clients)
}

fn program(seed: u64) {
    eprintln!("BLOCKJOB_SEED={seed}");
    let mut dice = Dice::new(seed);
    let count = 1 + dice.roll(2);
    let (mut peer, mut clients) = begin(&mut dice, count);
    let mut left = COMMANDS;
    while left > 0 {
        let number = dice.roll(count);
        let client = &mut clients[number];
        if count > 1 {
            // What the others' commands brought about was read: a job that came into being before this client asked for
            // it, and that it hears of afterwards, the oracle takes for none.
            client.ask("query-version", json!({}));
        }
        let burst = (1 + if dice.chance(3) { dice.roll(6) } else { 0 }).min(left);
        for _ in 0..burst {
            let (command, arguments) = dice.command(number);
            client.send(command, arguments);
        }
        for _ in 0..burst {
            client.answer();
        }
        left -= burst;
    }
    clients[0].quit();
    let observer = if count == 1 {
        Observer::Sole
    } else {
        Observer::Shared
    };
    for client in &mut clients {
        client.read_to_end();
        client.judge(observer);
    }
    let (status, words) = peer.wait();
    assert!(status.success(), "{words}");
    judge_trace(&peer.folder().join("trace.jsonl"));
}

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

#[test]
fn random_programs_are_answered_as_the_specification_allows() {
    let first = number("BLOCKJOB_SEED", 1);
    for seed in first..first + number("BLOCKJOB_PROGRAMS", PROGRAMS) {
        program(seed);
    }
}
