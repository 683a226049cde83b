//! A driver made of its run, for tests that need no orders from outside.

use blockjob::driver::{Driver, Flow, JobError, RunContext};

type Run = Box<dyn Fn(RunContext<'_>) -> Result<(), JobError> + Send + Sync>;

/// A driver made of its run.
pub struct Work {
    run: Run,
    job_type: &'static str,
    completes: bool,
}

/// A job of type `work` that does this.
pub fn work(run: impl Fn(RunContext<'_>) -> Result<(), JobError> + Send + Sync + 'static) -> Work {
    Work {
        run: Box::new(run),
        job_type: "work",
        completes: false,
    }
}

/// A job of this type that ends at once.
pub fn idle(job_type: &'static str) -> Work {
    Work {
        job_type,
        ..work(|_| Ok(()))
    }
}

/// A job that waits to be cancelled.
pub fn endless() -> Work {
    work(|mut context| {
        while context.wait() == Flow::Continue {}
        Ok(())
    })
}

impl Work {
    /// The same, and it can be completed, and cancelled softly, once it is ready.
    pub fn completable(self) -> Work {
        Work {
            completes: true,
            ..self
        }
    }
}

impl Driver for Work {
    fn job_type(&self) -> &'static str {
        self.job_type
    }

    fn supports_complete(&self) -> bool {
        self.completes
    }

    fn cancel(&self, force: bool, ready: bool) -> bool {
        force || !ready
    }

    fn run(&self, context: RunContext<'_>) -> Result<(), JobError> {
        (self.run)(context)
    }
}
