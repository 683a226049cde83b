//! Where a transaction has too many possible worlds its members are judged one by one.
//!
//! A widened verdict can miss a fault of the members together, never invent one.

use super::belief::Symbol;
use super::{Acceptor, GroupKey, Track};
use crate::step::Output;

impl Acceptor {
    /// Judges the members of a transaction one by one from now on, then changes the belief.
    pub(super) fn widen(&mut self, group: GroupKey, symbol: &Symbol) -> bool {
        self.widened += 1;
        let Some(track) = self.groups.remove(&group.0) else {
            return true;
        };
        let Ok(beliefs) = self.pool.split(track.belief) else {
            unreachable!("the worlds of a single job are few");
        };
        let mut keys = Vec::with_capacity(track.members.len());
        for (&job, belief) in track.members.iter().zip(beliefs) {
            let key = GroupKey(self.next_group);
            self.next_group += 1;
            self.groups.insert(
                key.0,
                Track {
                    key,
                    members: vec![job],
                    belief,
                    path: None,
                },
            );
            if let Some(track) = self.jobs.get_mut(&job.0) {
                track.group = key;
                track.member = 0;
            }
            keys.push(key);
        }
        // Calls under way now concern the groups their worlds went to.
        let mut calls = std::mem::take(&mut self.calls);
        for call in calls.values_mut() {
            if let Some(place) = call.groups.iter().position(|&other| other == group) {
                call.groups.remove(place);
                for &key in &keys {
                    if self.is_under_way(key, call.slot) {
                        call.groups.push(key);
                    }
                }
            }
        }
        self.calls = calls;
        self.parts.insert(group.0, keys.clone());
        self.change_split(&keys, symbol)
    }

    /// Applies a symbol meant for a whole group to the groups its members were split into.
    fn change_split(&mut self, keys: &[GroupKey], symbol: &Symbol) -> bool {
        let one = |member: usize| keys.get(member).copied();
        match symbol {
            &Symbol::See(output) => {
                let seen = relocate(output);
                one(output.member()).is_none_or(|key| self.change(key, &Symbol::See(seen)))
            }
            &Symbol::Narrow(member, specs) => one(usize::from(member))
                .is_none_or(|key| self.change(key, &Symbol::Narrow(0, specs))),
            &Symbol::Start(member) => {
                one(usize::from(member)).is_none_or(|key| self.change(key, &Symbol::Start(0)))
            }
            &Symbol::Began(member) => {
                one(usize::from(member)).is_none_or(|key| self.change(key, &Symbol::Began(0)))
            }
            &Symbol::Vanished(member) => {
                one(usize::from(member)).is_none_or(|key| self.change(key, &Symbol::Vanished(0)))
            }
            &Symbol::Never(member) => {
                one(usize::from(member)).is_none_or(|key| self.change(key, &Symbol::Never(0)))
            }
            &Symbol::Call {
                slot,
                member: Some(member),
                request,
                block,
                maybe_over,
            } => one(usize::from(member)).is_none_or(|key| {
                self.calls.values_mut().for_each(|call| {
                    if call.slot == slot {
                        call.groups = vec![key];
                    }
                });
                self.change(
                    key,
                    &Symbol::Call {
                        slot,
                        member: Some(0),
                        request,
                        block,
                        maybe_over,
                    },
                )
            }),
            // It has come to none of them yet: whose it is cannot be read in their worlds.
            symbol @ &Symbol::Call {
                slot, member: None, ..
            } => {
                for call in self.calls.values_mut() {
                    if call.slot == slot {
                        call.groups.extend(keys);
                    }
                }
                keys.iter().all(|&key| self.change(key, symbol))
            }
            // Who joins now is judged alone from the beginning.
            Symbol::Join(_) => true,
            Symbol::Looked { slot, listing } => keys.iter().zip(listing).all(|(&key, listed)| {
                self.change(
                    key,
                    &Symbol::Looked {
                        slot: *slot,
                        listing: vec![*listed],
                    },
                )
            }),
            symbol @ (Symbol::Answer { slot, .. } | Symbol::Posted { slot }) => {
                // The call went with the members it concerns.
                let concerned = |key: &&GroupKey| self.is_under_way(**key, *slot);
                let concerned: Vec<GroupKey> = keys.iter().filter(concerned).copied().collect();
                concerned.iter().all(|&key| self.change(key, symbol))
            }
            symbol => keys.iter().all(|&key| self.change(key, symbol)),
        }
    }

    /// Whether a call in this slot is under way in a group.
    fn is_under_way(&self, group: GroupKey, slot: u16) -> bool {
        let worlds = self.pool.worlds(self.belief(group));
        worlds
            .iter()
            .any(|world| world.calls.iter().any(|call| call.thread == slot))
    }
}

/// The same output for the only member of a group.
const fn relocate(output: Output) -> Output {
    match output {
        Output::Status(_, status) => Output::Status(0, status),
        Output::Event(_, event) => Output::Event(0, event),
        Output::Begin(_, callback) => Output::Begin(0, callback),
        Output::End(_, callback, well) => Output::End(0, callback, well),
        Output::PointBegin(_) => Output::PointBegin(0),
        Output::PointEnd(_) => Output::PointEnd(0),
        Output::IoBegin(_) => Output::IoBegin(0),
        Output::IoEnd(_) => Output::IoEnd(0),
    }
}
