//! Calls: they begin, take effect at some moment nobody sees, and return.
//!
//! A call is in the worlds of every transaction that it concerns, under the number of its slot: numbers are given
//! again, so that worlds stay alike however many calls there were.

use super::belief::{BeliefId, SightPattern, Symbol};
use super::{Acceptor, CallTrack, GroupKey, JobKey, Rejection, explain};
use crate::hash::FastMap;
use crate::request::{bit, is_creators};
use crate::state::CallState;
use crate::verb::Refusal;
use crate::vocabulary::{Reply, Request};

/// So many lists of groups are kept for use again.
const LISTS_MAX: usize = 8;

/// So many jobs of a list are looked through sooner than hashed.
const FEW: usize = 8;

impl Acceptor {
    /// A call begins; `job` is `None` where it concerns every job. One call at a time a thread.
    pub fn call(&mut self, thread: u16, job: Option<JobKey>, request: Request, block: bool) {
        let slot = self.take_slot();
        let mut groups = self.lists.pop().unwrap_or_default();
        let mut member = None;
        match job {
            None => groups.extend(self.groups.values().map(|track| track.key)),
            Some(job) => {
                if let Some((group, place)) = self.place(job) {
                    groups.push(group);
                    member = Some(place);
                }
            }
        }
        groups.sort_unstable();
        let track = CallTrack {
            slot,
            gone: job.is_some() && groups.is_empty(),
            groups,
            request,
            block,
            all: job.is_none() && request != Request::Start,
        };
        let symbol = Symbol::Call {
            slot,
            member,
            request,
            block,
            maybe_over: false,
        };
        let groups = self.copied(&track.groups);
        self.calls.insert(thread, track);
        for &group in &groups {
            self.change(group, &symbol);
        }
        self.give_back(groups);
    }

    /// The same list, in memory that is used again: a call that is carried out may become one of other groups.
    fn copied(&mut self, groups: &[GroupKey]) -> Vec<GroupKey> {
        let mut list = self.lists.pop().unwrap_or_default();
        list.extend_from_slice(groups);
        list
    }

    /// The groups that the thread's call concerns.
    fn groups_of(&mut self, thread: u16) -> Vec<GroupKey> {
        let mut list = self.lists.pop().unwrap_or_default();
        if let Some(call) = self.calls.get(&thread) {
            list.extend_from_slice(&call.groups);
        }
        list
    }

    fn give_back(&mut self, mut list: Vec<GroupKey>) {
        if self.lists.len() < LISTS_MAX {
            list.clear();
            self.lists.push(list);
        }
    }

    /// A call that concerns every member of one transaction begins (starting it).
    pub fn call_group(&mut self, thread: u16, group: GroupKey, request: Request) {
        let slot = self.take_slot();
        // A transaction that is over has been forgotten; the call finds nobody.
        let parts = self.parts.get(&group.0).cloned();
        let known: Vec<GroupKey> = parts
            .unwrap_or_else(|| vec![group])
            .into_iter()
            .filter(|part| self.groups.contains_key(&part.0))
            .collect();
        self.calls.insert(
            thread,
            CallTrack {
                slot,
                groups: known.clone(),
                request,
                block: false,
                all: false,
                gone: false,
            },
        );
        for group in known {
            self.change(
                group,
                &Symbol::Call {
                    slot,
                    member: None,
                    request,
                    block: false,
                    maybe_over: false,
                },
            );
        }
    }

    /// The thread's call returned.
    ///
    /// # Errors
    /// The reply cannot be explained.
    pub fn answer(&mut self, thread: u16, reply: Reply) -> Result<(), Rejection> {
        let Some(call) = self.calls.get(&thread) else {
            return Err(explain::no_call());
        };
        let (slot, request, all) = (call.slot, call.request, call.all);
        // Who ends its section, enters it, or starts it or gives it up in vain is told nothing.
        let silent = matches!(request, Request::Enter | Request::DrainEnd { .. });
        let expected = if silent || is_creators(request) {
            Ok(())
        } else {
            Err(Refusal::NotFound)
        };
        if call.gone && reply != expected {
            return Err(explain::answer_of_nobody(request, expected, reply));
        }
        let groups = self.groups_of(thread);
        for &group in &groups {
            let before = self.belief(group);
            if !self.change(group, &Symbol::Answer { slot, reply }) {
                if self.thin {
                    return Err(explain::nothing_found());
                }
                let ids = self.ids(group);
                return Err(explain::answer(
                    self.pool.worlds(before),
                    &ids,
                    slot,
                    request,
                    reply,
                ));
            }
        }
        self.give_back(groups);
        match request {
            Request::DrainBegin { token } if all && reply.is_ok() => self.drained |= bit(token),
            Request::DrainEnd { token } if all => self.drained &= !bit(token),
            _ => {}
        }
        self.end_call(thread);
        Ok(())
    }

    /// How the thread's call may be answered now.
    pub fn answers(&self, thread: u16) -> Vec<Reply> {
        let Some(call) = self.calls.get(&thread) else {
            return Vec::new();
        };
        let groups = call
            .groups
            .iter()
            .filter_map(|group| self.groups.get(&group.0));
        let mut replies: Vec<Reply> = groups
            .flat_map(|track| self.answers_in(track.belief, call.slot))
            .collect();
        if call.gone {
            replies.push(Err(Refusal::NotFound));
        }
        replies.sort_unstable();
        replies.dedup();
        replies
    }

    /// How the call in this slot has been answered in some world of the belief.
    pub(super) fn answers_in(&self, belief: BeliefId, slot: u16) -> Vec<Reply> {
        let worlds = self.pool.worlds(belief).iter();
        let calls = worlds.flat_map(|world| &world.calls);
        calls
            .filter(|call| call.thread == slot)
            .filter_map(|call| match call.state {
                CallState::Answered(reply) => Some(reply),
                _ => None,
            })
            .collect()
    }

    /// The thread's call returned with no more than that it was taken: it came from inside a callback
    /// of the main loop, which carries it out, or refuses it silently, when it is free.
    ///
    /// # Errors
    /// It would have been refused.
    pub fn posted(&mut self, thread: u16) -> Result<(), Rejection> {
        let Some(call) = self.calls.get(&thread) else {
            return Err(explain::no_call());
        };
        let (slot, request) = (call.slot, call.request);
        if call.gone {
            return Err(explain::answer_of_nobody(
                request,
                Err(Refusal::NotFound),
                Ok(()),
            ));
        }
        for group in call.groups.clone() {
            let before = self.belief(group);
            if !self.change(group, &Symbol::Posted { slot }) {
                if self.thin {
                    return Err(explain::nothing_found());
                }
                let ids = self.ids(group);
                return Err(explain::answer(
                    self.pool.worlds(before),
                    &ids,
                    slot,
                    request,
                    Ok(()),
                ));
            }
        }
        self.end_call(thread);
        Ok(())
    }

    /// Whether the thread's query may have listed these jobs. Nothing is taken note of.
    pub fn may_look(&mut self, thread: u16, sights: &[(JobKey, SightPattern)]) -> bool {
        let Some(call) = self.calls.get(&thread) else {
            return false;
        };
        let slot = call.slot;
        for group in call.groups.clone() {
            let Some(track) = self.groups.get(&group.0) else {
                continue;
            };
            let listed = |member: &JobKey| {
                let sight = sights.iter().find(|(job, _)| job == member);
                sight.map(|&(_, pattern)| pattern)
            };
            let listing = track.members.iter().map(listed).collect();
            let symbol = Symbol::Looked { slot, listing };
            // A belief that has to be widened forbids nothing.
            if matches!(self.pool.advance(track.belief, &symbol), Ok(None)) {
                return false;
            }
        }
        true
    }

    /// The thread's query returned, and listed these jobs.
    ///
    /// # Errors
    /// At no moment between call and return was this the picture.
    pub fn looked(
        &mut self,
        thread: u16,
        sights: &[(JobKey, SightPattern)],
    ) -> Result<(), Rejection> {
        let Some(call) = self.calls.get(&thread) else {
            return Err(explain::no_call());
        };
        let slot = call.slot;
        let listed: FastMap<u32, SightPattern> = if sights.len() > FEW {
            let listed = sights.iter().map(|&(job, pattern)| (job.0, pattern));
            listed.collect()
        } else {
            FastMap::default()
        };
        let listed = |member: &JobKey| {
            if listed.is_empty() {
                // The last counts.
                let sight = sights.iter().rfind(|(job, _)| job == member);
                sight.map(|&(_, pattern)| pattern)
            } else {
                listed.get(&member.0).copied()
            }
        };
        let groups = self.groups_of(thread);
        let mut listing = Vec::new();
        for &group in &groups {
            let Some(track) = self.groups.get(&group.0) else {
                continue;
            };
            let before = track.belief;
            listing.clear();
            listing.extend(track.members.iter().map(listed));
            let symbol = Symbol::Looked { slot, listing };
            let explained = self.change(group, &symbol);
            let Symbol::Looked { listing: shown, .. } = symbol else {
                break;
            };
            listing = shown;
            if !explained {
                if self.thin {
                    return Err(explain::nothing_found());
                }
                let ids = self.ids(group);
                return Err(explain::looked(
                    self.pool.worlds(before),
                    &ids,
                    slot,
                    &listing,
                ));
            }
        }
        self.give_back(groups);
        self.end_call(thread);
        Ok(())
    }

    /// The thread's call failed before it reached the job layer: it changed nothing.
    pub fn withdraw(&mut self, thread: u16) {
        let Some(call) = self.calls.get(&thread) else {
            return;
        };
        let slot = call.slot;
        for group in call.groups.clone() {
            self.change(group, &Symbol::Withdraw { slot });
        }
        self.end_call(thread);
    }

    fn take_slot(&mut self) -> u16 {
        let slot = self
            .slots
            .iter()
            .position(|taken| !taken)
            .unwrap_or_else(|| {
                self.slots.push(false);
                self.slots.len() - 1
            });
        self.slots[slot] = true;
        slot as u16
    }

    pub(super) fn end_call(&mut self, thread: u16) {
        if let Some(call) = self.calls.remove(&thread) {
            self.slots[usize::from(call.slot)] = false;
            for &group in &call.groups {
                self.sweep(group);
            }
            self.give_back(call.groups);
        }
    }
}
