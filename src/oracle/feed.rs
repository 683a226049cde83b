//! A trace that is handed over line by line, by somebody who does not want to be read from.
//!
//! The judge reads; whoever feeds it, writes. So the judge has a thread of its own, and the two take turns: who
//! feeds waits until the judge asks for more, or has come to its verdict. What was fed is judged by then, as far as
//! the format needs no more to be understood.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use super::{Options, Verdict, check_reader};

/// A judge that waits for the next line.
pub struct Feed {
    /// Nothing: the trace is complete.
    lines: Option<Sender<Vec<u8>>>,
    hungry: Receiver<()>,
    judge: Option<JoinHandle<Verdict>>,
    verdict: Option<Verdict>,
}

/// The judge's end.
struct Plate {
    lines: Receiver<Vec<u8>>,
    hungry: Sender<()>,
    line: Vec<u8>,
    eaten: usize,
}

impl Feed {
    /// A judge for one trace; `name` is what the verdict calls it.
    ///
    /// # Errors
    ///
    /// The system gives it no thread.
    pub fn new(name: &str, options: &Options) -> io::Result<Feed> {
        let (lines, fed) = channel();
        let (hungry, asks) = channel();
        let (name, options) = (
            name.to_owned(),
            Options {
                live: true,
                ..*options
            },
        );
        let judge = thread::Builder::new()
            .name("oracle".to_owned())
            .spawn(move || {
                let plate = Plate {
                    lines: fed,
                    hungry,
                    line: Vec::new(),
                    eaten: 0,
                };
                check_reader(&name, plate, &options)
            })?;
        let mut feed = Feed {
            lines: Some(lines),
            hungry: asks,
            judge: Some(judge),
            verdict: None,
        };
        feed.wait();
        Ok(feed)
    }

    /// Hands over one line, or several, or a part of one; blocks until it is judged. Once there is a verdict
    /// it is ignored.
    pub fn feed(&mut self, bytes: &[u8]) {
        // Nothing to eat would be the end of the trace.
        if bytes.is_empty() {
            return;
        }
        if let Some(lines) = &self.lines
            && lines.send(bytes.to_vec()).is_ok()
        {
            self.wait();
        }
    }

    /// Hands over one line, with or without its end.
    pub fn feed_line(&mut self, line: &[u8]) {
        if line.last() == Some(&b'\n') {
            self.feed(line);
        } else {
            self.feed(&[line, b"\n"].concat());
        }
    }

    /// The verdict, if there is one already: the trace was rejected, or is none.
    pub fn verdict(&self) -> Option<&Verdict> {
        self.verdict.as_ref()
    }

    /// The trace is complete: the verdict. Nothing where the judge could not come to one, which is a mistake
    /// of ours and was told on standard error.
    pub fn finish(&mut self) -> Option<&Verdict> {
        self.lines = None;
        self.join();
        self.verdict()
    }

    /// Waits until the judge asks for more or is done.
    fn wait(&mut self) {
        if self.hungry.recv().is_err() {
            self.lines = None;
            self.join();
        }
    }

    fn join(&mut self) {
        if let Some(judge) = self.judge.take() {
            self.verdict = judge.join().ok();
        }
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.lines = None;
        self.join();
    }
}

impl BufRead for Plate {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.eaten == self.line.len() {
            self.eaten = 0;
            // Whoever fed has gone: the trace ends here.
            let asked = self.hungry.send(()).is_ok();
            self.line = match self.lines.recv() {
                Ok(line) if asked => line,
                _ => Vec::new(),
            };
        }
        Ok(&self.line[self.eaten..])
    }

    fn consume(&mut self, bytes: usize) {
        self.eaten += bytes;
    }
}

impl Read for Plate {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(into)?;
        self.consume(read);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GREETING: &str = r#"{"t":0,"dir":"<","msg":{"QMP":{"version":{"qemu":{"micro":0,"minor":0,"major":10},"package":""},"capabilities":[]}}}"#;

    fn status(job: &str, status: &str) -> String {
        format!(
            r#"{{"t":1,"dir":"<","msg":{{"event":"JOB_STATUS_CHANGE","timestamp":{{"seconds":1,"microseconds":1}},"data":{{"status":"{status}","id":"{job}"}}}}}}"#
        )
    }

    fn begun() -> Feed {
        let mut feed = Feed::new("fed", &Options::default()).expect("a thread");
        feed.feed_line(GREETING.as_bytes());
        feed
    }

    #[test]
    fn a_fault_is_known_when_its_line_was_fed() {
        let mut feed = begun();
        for status in [status("j", "created"), status("j", "running")] {
            feed.feed_line(status.as_bytes());
            assert!(feed.verdict().is_none());
        }
        feed.feed_line(status("j", "created").as_bytes());
        let fault = feed.verdict().and_then(Verdict::fault).cloned();
        assert_eq!(fault.map(|fault| fault.line), Some(4));
        // What comes after it changes nothing.
        feed.feed_line(b"nonsense");
        assert_eq!(feed.finish().map(Verdict::word), Some("reject"));
    }

    #[test]
    fn what_is_fed_in_pieces_is_judged_as_a_whole() {
        let mut feed = begun();
        for byte in format!("{}\n", status("j", "created")).as_bytes() {
            feed.feed(&[*byte]);
        }
        feed.feed(b"");
        assert_eq!(feed.finish().map(|verdict| verdict.events), Some(1));
        assert_eq!(feed.finish().map(Verdict::word), Some("accept"));
    }

    /// The job was running, and has completed.
    fn completed(job: &str) -> [String; 4] {
        let event = format!(
            r#"{{"t":1,"dir":"<","msg":{{"event":"BLOCK_JOB_COMPLETED","data":{{"device":"{job}","type":"stream","len":8,"offset":8,"speed":0}}}}}}"#
        );
        [
            status(job, "created"),
            status(job, "running"),
            event,
            status(job, "concluded"),
        ]
    }

    /// Fed so far, it looks as if statuses had been left out.
    fn without_two_statuses() -> Feed {
        let mut feed = begun();
        for line in completed("j") {
            feed.feed_line(line.as_bytes());
            assert!(feed.verdict().is_none(), "{line}");
        }
        feed
    }

    #[test]
    fn what_comes_after_all_was_not_left_out() {
        let mut feed = without_two_statuses();
        for now in ["created", "running", "waiting"] {
            assert!(feed.verdict().is_none(), "{now}");
            feed.feed_line(status("k", now).as_bytes());
        }
        let fault = feed.verdict().and_then(Verdict::fault).cloned();
        let fault = fault.map(|fault| (fault.line, fault.rule));
        assert_eq!(fault, Some((4, "terminal-event-order")));
    }

    #[test]
    fn at_the_end_it_is_judged_as_a_whole() {
        let mut feed = without_two_statuses();
        // One job is no habit.
        let fault = feed.finish().and_then(Verdict::fault).cloned();
        assert_eq!(fault.map(|fault| fault.line), Some(4));
        let mut feed = without_two_statuses();
        for line in completed("k") {
            feed.feed_line(line.as_bytes());
        }
        let verdict = feed.finish();
        assert_eq!(verdict.map(Verdict::word), Some("accept"), "{verdict:?}");
    }

    #[test]
    fn nothing_fed_is_no_trace() {
        let mut feed = Feed::new("fed", &Options::default()).expect("a thread");
        assert_eq!(feed.finish().map(Verdict::word), Some("error"));
        drop(begun());
    }
}
