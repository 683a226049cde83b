//! A job kept in one status, whichever that is.

use blockjob::engine::{JobHandle, JobOptions, Transaction};
use blockjob::model::Status;

use super::{Bench, Puppet, Step, io_error};

/// A job, and what keeps it where the test wants it.
pub struct Held {
    pub job: JobHandle,
    /// Its own first, then those of its peers.
    pub puppets: Vec<Puppet>,
    _unstarted: Option<Transaction>,
}

fn plain() -> JobOptions {
    JobOptions::new("j0")
}

fn manual() -> JobOptions {
    plain().manual_finalize(true).manual_dismiss(true)
}

impl Held {
    /// A job called `j0` at rest in `status`; `None` for `undefined`, in which nobody sees one.
    ///
    /// Where it is parked it is held by `pause_all`: the user's own pause is another case.
    pub fn in_status(bench: &mut Bench, status: Status) -> Option<Held> {
        let held = match status {
            Status::Undefined => return None,
            Status::Created => {
                let mut transaction = bench.manager.transaction();
                let created = bench.member(&mut transaction, plain(), |_| ());
                Held {
                    _unstarted: Some(transaction),
                    ..Held::alone(created)
                }
            }
            Status::Running => Held::alone(bench.running(manual())),
            Status::Ready => Held::alone(bench.ready(plain())),
            Status::Paused | Status::Standby => {
                let (job, puppet) = if status == Status::Paused {
                    bench.running(plain())
                } else {
                    bench.ready(plain())
                };
                std::mem::forget(bench.manager.pause_all());
                puppet.order(Step::Point);
                bench.until(&job, status);
                Held::alone((job, puppet))
            }
            Status::Waiting => Held::beside_a_peer(bench, status, Ok(())),
            Status::Aborting => Held::beside_a_peer(bench, status, Err(io_error())),
            Status::Pending | Status::Concluded | Status::Null => {
                let (job, puppet) = bench.running(manual());
                puppet.order(Step::End(Ok(())));
                bench.until(&job, Status::Pending);
                if status != Status::Pending {
                    job.finalize().unwrap();
                }
                if status == Status::Null {
                    job.dismiss().unwrap();
                }
                Held::alone((job, puppet))
            }
        };
        assert_eq!(held.job.status(), status);
        Some(held)
    }

    fn alone((job, puppet): (JobHandle, Puppet)) -> Held {
        Held {
            job,
            puppets: vec![puppet],
            _unstarted: None,
        }
    }

    /// The older of two whose run has ended: the newer one is waited for.
    fn beside_a_peer(
        bench: &mut Bench,
        until: Status,
        result: Result<(), blockjob::driver::JobError>,
    ) -> Held {
        let mut transaction = bench.manager.transaction();
        let (job, puppet) = bench.member(&mut transaction, plain(), |_| ());
        let (_, peer) = bench.member(&mut transaction, JobOptions::new("peer"), |_| ());
        transaction.start();
        // It is in its run, and says nothing more until it is told to go on.
        peer.walk(Step::Point);
        puppet.order(Step::End(result));
        bench.until(&job, until);
        Held {
            job,
            puppets: vec![puppet, peer],
            _unstarted: None,
        }
    }

    /// Lets every body that still runs end.
    pub fn let_go(&self) {
        for puppet in &self.puppets {
            let _ = puppet.try_order(Step::End(Ok(())));
        }
    }
}
