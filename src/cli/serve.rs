//! `blockjob serve`: the engine as a QMP server.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use blockjob::io::process::raise_open_files;
use blockjob::io::signals::{Signal, Signals, ignore_file_size, stop_process};
use blockjob::qmp::server::listener::Address;
use blockjob::qmp::server::{Ended, Server};
use blockjob::trace::{TraceSink, TraceWriter};
use clap::Args;

use super::args::seconds;
use super::output::{Answer, Failure, Output, Verdict, complain, sentence};

/// The long help.
pub const LONG: &str = "\
Our engine as a QMP server: any QMP client can drive it, as it drives QEMU.

Nodes are files and block devices of yours, opened in place. A job writes into its target where it is: what was \
written stays when a job is cancelled or fails, and nothing is ever created, removed or resized. Jobs are \
blockdev-backup and blockdev-mirror, alone or as a transaction; job-*, block-job-* and query-* are QEMU's, and so \
are events, error classes and texts.

The socket is made with mode 0600 and refused in a folder that others may write to; clients of other users are sent \
away. A loopback address (tcp:127.0.0.1:PORT) has no such guard: every user of this machine may connect, and \
overwrite what you may.

quit, SIGTERM, SIGINT and SIGHUP cancel every job by force and end the server within a second. SIGUSR1 prints the \
jobs.";

const EXAMPLES: &str = "\
Examples:
  mkdir -m 700 /run/user/1000/jobs
  blockjob serve --qmp unix:/run/user/1000/jobs/qmp
  qmp-shell /run/user/1000/jobs/qmp
  socat - UNIX-CONNECT:/run/user/1000/jobs/qmp

and there (a message ends where its last brace is):
  {\"execute\": \"qmp_capabilities\"}
  {\"execute\": \"blockdev-add\", \"arguments\":
    {\"driver\": \"file\", \"node-name\": \"disk\", \"filename\": \"/data/disk.img\"}}
  {\"execute\": \"blockdev-add\", \"arguments\":
    {\"driver\": \"file\", \"node-name\": \"copy\", \"filename\": \"/data/copy.img\"}}
  {\"execute\": \"blockdev-backup\", \"arguments\":
    {\"job-id\": \"j0\", \"device\": \"disk\", \"target\": \"copy\", \"sync\": \"full\"}}
  {\"execute\": \"query-jobs\"}

docs/serve.md has the commands, the limits, and where this differs from QEMU.";

/// The arguments.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// Where to listen: unix:PATH or tcp:127.0.0.1:PORT; several times for several
    #[arg(long, value_name = "ADDRESS", required = true, value_parser = address)]
    qmp: Vec<Address>,

    /// How long the end waits for jobs that the kernel holds up
    #[arg(long, value_name = "SECONDS", default_value = "0.6", value_parser = seconds)]
    grace: Duration,

    /// Record everything that is asked and done, for `blockjob check`
    #[arg(long, value_name = "FILE")]
    trace: Option<PathBuf>,
}

fn address(text: &str) -> Result<Address, String> {
    text.parse()
}

/// Serves until it is told to end.
pub fn run(arguments: &Arguments, _: &mut Output) -> Answer {
    // A limit on open files is met by many nodes and clients; one that cannot be raised is met earlier.
    let _ = raise_open_files();
    ignore_file_size().map_err(|error| cannot("ignore SIGXFSZ", &error))?;
    let writer = match &arguments.trace {
        Some(path) => {
            let file = File::create(path).map_err(|error| {
                cannot(&format!("create the trace {}", path.display()), &error)
                    .tip("name a file in a folder that can be written")
            })?;
            Some(Arc::new(TraceWriter::new(file)))
        }
        None => None,
    };
    let sink = writer.clone().map(|writer| writer as Arc<dyn TraceSink>);
    let server = Server::bind(&arguments.qmp, sink)
        .map_err(|error| Failure::new(error.to_string()).tip(error.way_out()))?
        .grace(arguments.grace);
    let signals = Signals::install().map_err(|error| cannot("catch signals", &error))?;
    let control = server.control();
    let manager = server.manager().clone();
    let listening: Vec<_> = server.addresses().map(ToString::to_string).collect();
    complain(&format!("listening at {}", listening.join(", ")));
    let waker = signals.waker();
    let listener = thread::Builder::new()
        .name("signals".to_owned())
        .spawn(move || {
            while let Ok(Some(signal)) = signals.next() {
                match signal {
                    Signal::Interrupt | Signal::Terminate | Signal::Hangup => {
                        control.end();
                    }
                    Signal::Stop => {
                        if let Err(error) = stop_process() {
                            complain(&format!("cannot stop: {error}"));
                        }
                    }
                    Signal::Continue | Signal::User2 => {}
                    Signal::User1 => {
                        for job in manager.jobs() {
                            let (done, total) = job.job().progress_bytes();
                            complain(&format!(
                                "{}: {}, {done} of {total} bytes",
                                job.id(),
                                job.status()
                            ));
                        }
                    }
                }
            }
        })
        .map_err(|error| cannot("start a thread", &error))?;
    let ended = server
        .run()
        .map_err(|error| cannot("start a thread", &error))?;
    waker.wake();
    // A listener that panicked has said so.
    let _ = listener.join();
    if let (Some(path), Some(writer)) = (&arguments.trace, writer) {
        writer
            .finish()
            .map_err(|error| cannot(&format!("write the trace {}", path.display()), &error))?;
    }
    Ok(match ended {
        Ended::Cleanly => Verdict::Good,
        Ended::JobsLeft => {
            complain(&"jobs were left in the middle of I/O that did not end in time");
            Verdict::Bad
        }
    })
}

fn cannot(what: &str, error: &std::io::Error) -> Failure {
    Failure::new(format!("cannot {what}: {}", sentence(error)))
}
