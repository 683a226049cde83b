//! What other clients do to nodes while jobs work on them: remove them, resize them, put another job on them, hang
//! bitmaps on them. Most of it is refused, and none of it may bring a job to what it must not do.

use serde_json::{Value, json};

use super::Maker;
use crate::conform::conversation::{Conversation, Trouble};
use crate::conform::program::Step;
use crate::conform::recipe::Kind;

impl Maker<'_> {
    /// Does something to a node of a job.
    pub(super) fn mischief(&mut self, conversation: &mut Conversation<'_>) -> Result<(), Trouble> {
        let numbers: Vec<(usize, u64)> = (0..self.next).map(|number| (number, 1)).collect();
        let (Some(one), Some(other)) = (self.dice.choose(&numbers), self.dice.choose(&numbers))
        else {
            return Ok(());
        };
        let letters = |kind: Kind| match kind {
            Kind::Backup | Kind::Mirror => "st",
            Kind::Stream | Kind::ActiveCommit => "bo",
            Kind::Commit => "bmo",
            Kind::Create => "",
        };
        let mut node = |number: usize| {
            let id = format!("j{number}");
            let job = self.jobs.iter().find(|job| job.plan.id == id);
            let all: Vec<(char, u64)> = job
                .map_or("st", |job| letters(job.plan.kind))
                .chars()
                .map(|letter| (letter, 1))
                .collect();
            let letter = self.dice.choose(&all).unwrap_or('s');
            format!("{letter}{number}")
        };
        let (node, second) = (node(one), node(other));
        let id = format!("i{}", self.program.steps.len());
        let size = *[0_u64, 65536, 1 << 20, 8 << 20]
            .get(self.dice.below(4) as usize)
            .unwrap_or(&0);
        let name = format!("p{}", self.dice.below(2));
        let all: [(&str, Value); 10] = [
            ("blockdev-del", json!({"node-name": node})),
            ("block_resize", json!({"node-name": node, "size": size})),
            (
                "block-dirty-bitmap-add",
                json!({"node": node, "name": name}),
            ),
            (
                "block-dirty-bitmap-remove",
                json!({"node": node, "name": name}),
            ),
            ("query-named-block-nodes", json!({})),
            (
                "blockdev-backup",
                json!({"job-id": id, "device": node, "target": second, "sync": "none"}),
            ),
            (
                "blockdev-mirror",
                json!({"job-id": id, "device": node, "target": second, "sync": "top",
                    "copy-mode": "write-blocking", "replaces": second}),
            ),
            (
                "block-stream",
                json!({"job-id": id, "device": node, "base-node": second}),
            ),
            (
                "block-commit",
                json!({"job-id": id, "device": node, "base-node": second}),
            ),
            (
                "transaction",
                json!({"actions": [
                    {"type": "block-dirty-bitmap-add", "data": {"node": node, "name": "q0"}},
                    {"type": "blockdev-backup", "data":
                        {"job-id": id, "device": node, "target": second, "sync": "full"}}]}),
            ),
        ];
        let can: Vec<(usize, u64)> = all
            .iter()
            .enumerate()
            .filter(|(_, (command, _))| self.abilities.has(command))
            .map(|(place, _)| (place, 1))
            .collect();
        let Some((command, arguments)) = self.dice.choose(&can).map(|place| all[place].clone())
        else {
            return Ok(());
        };
        // What the jobs of this node do from here on is not reckoned.
        for number in [one, other] {
            self.unsure(&format!("j{number}"));
        }
        self.step(conversation, Step::send(command, arguments))
    }
}
