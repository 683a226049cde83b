//! Going on behind a rejection, from the nearest state that is legal.
//!
//! A rejected observation leaves the belief as it was. Whoever wants to know what else is wrong goes on
//! from a state that differs from it as little as may be: what is missing before the observation is
//! taken as having happened, else the observation as not having been made. Of a transaction of which
//! nothing can be believed any more, nothing is: it is let go of.

use super::belief::{BeliefId, Symbol};
use super::{Acceptor, GroupKey, JobKey, Seen};
use crate::step::Output;

/// So many observations may be missing before one.
const MISSING_MAX: usize = 3;

/// So many beliefs are tried in search of them.
const TRIED_MAX: usize = 300;

impl Acceptor {
    /// Goes on behind an observation that was rejected: what is taken to be missing before it, or `None`
    /// where nothing explains it and it is passed over.
    pub fn resume(&mut self, job: JobKey, seen: Seen) -> Option<Vec<(JobKey, Seen)>> {
        let (group, member) = self.place(job)?;
        let output = seen.of(usize::from(member));
        let mut ways: Vec<(BeliefId, Vec<Output>)> = vec![(self.belief(group), Vec::new())];
        let mut place = 0;
        while place < ways.len() && ways.len() < TRIED_MAX {
            let (belief, missing) = ways[place].clone();
            place += 1;
            if let Ok(Some(after)) = self.pool.advance(belief, &Symbol::See(output)) {
                self.groups.get_mut(&group.0)?.belief = after;
                if let Seen::Begin(callback) = seen
                    && callback.on_main_loop()
                {
                    self.main_in = Some((job, callback));
                }
                let members = self.groups.get(&group.0)?.members.clone();
                self.sweep(group);
                return Some(
                    missing
                        .into_iter()
                        .filter_map(|output| {
                            let job = members.get(output.member())?;
                            Some((*job, Seen::in_output(output)))
                        })
                        .collect(),
                );
            }
            if missing.len() == MISSING_MAX {
                continue;
            }
            // What is missing of the job itself is likelier than what is missing of its peers.
            let mut visible = self.pool.visible(belief);
            visible.sort_by_key(|output| output.member() != usize::from(member));
            for before in visible {
                if let Ok(Some(after)) = self.pool.advance(belief, &Symbol::See(before)) {
                    let mut missing = missing.clone();
                    missing.push(before);
                    ways.push((after, missing));
                }
            }
        }
        None
    }

    /// The thread's call returned with an answer that was rejected: it ends as it may have. The jobs
    /// that are let go of because it can have ended in no way.
    pub fn settle(&mut self, thread: u16) -> Vec<JobKey> {
        let Some(call) = self.calls.get(&thread) else {
            return Vec::new();
        };
        let slot = call.slot;
        let mut lost = Vec::new();
        for group in call.groups.clone() {
            let Some(track) = self.groups.get(&group.0) else {
                continue;
            };
            let mut replies = self.answers_in(track.belief, slot);
            replies.sort_unstable();
            replies.dedup();
            let mut ends = replies
                .into_iter()
                .map(|reply| Symbol::Answer { slot, reply })
                .chain([Symbol::Withdraw { slot }]);
            if !ends.any(|end| self.change(group, &end)) {
                lost.extend(self.let_go_of_group(group));
            }
        }
        self.end_call(thread);
        lost
    }

    /// Nothing is believed any more of a job and the others of its transaction; which they are.
    pub fn let_go(&mut self, job: JobKey) -> Vec<JobKey> {
        match self.place(job) {
            Some((group, _)) => self.let_go_of_group(group),
            None => Vec::new(),
        }
    }

    fn let_go_of_group(&mut self, group: GroupKey) -> Vec<JobKey> {
        let Some(track) = self.groups.remove(&group.0) else {
            return Vec::new();
        };
        for call in self.calls.values_mut() {
            call.groups.retain(|&other| other != group);
        }
        for job in &track.members {
            self.jobs.remove(&job.0);
        }
        if self
            .main_in
            .is_some_and(|(job, _)| track.members.contains(&job))
        {
            self.main_in = None;
        }
        track.members
    }
}

impl Seen {
    const fn in_output(output: Output) -> Seen {
        match output {
            Output::Status(_, status) => Seen::Status(status),
            Output::Event(_, event) => Seen::Event(event),
            Output::Begin(_, callback) => Seen::Begin(callback),
            Output::End(_, callback, well) => Seen::End(callback, well),
            Output::PointBegin(_) => Seen::PointBegin,
            Output::PointEnd(_) => Seen::PointEnd,
            Output::IoBegin(_) => Seen::IoBegin,
            Output::IoEnd(_) => Seen::IoEnd,
        }
    }
}
