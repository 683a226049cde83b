//! libvirt's debug log, judged: a conversation for each monitor.
//!
//! libvirt has one connection to each daemon, one command under way on it at a time, and numbers its
//! commands (`"id":"libvirt-12"`). So where a log has lost something, be it that a logger gave up or that
//! somebody cut pieces out, the numbers tell; from there on the conversation is judged as one that begins
//! there, with jobs that were there before. What is not in the log is never held against the daemon: so an
//! event that no command explains is a fault only when the next number shows that no command is missing.

use std::collections::HashMap;

use blockjob_model::Profile;

use super::monitors::Monitors;
use super::trial::Sentence;
use super::{Extent, Observer};
use crate::oracle::reader::libvirt::{Entry, Said};
use crate::oracle::reader::qmp::{Direction, Message, Record};
use crate::oracle::reader::scan;

/// How many connections are remembered; beyond, the log is of no host.
const CONNECTIONS_MAX: usize = 4096;
/// How many greetings wait for whom they are for.
const GREETINGS_MAX: usize = 64;

/// What libvirt says of itself on one connection.
#[derive(Default)]
struct Connection {
    /// Commands are logged when they are handed over, not only when they are written.
    handed: bool,
    /// The number of the last command.
    number: Option<u64>,
    /// It was answered.
    answered: bool,
    /// The daemon's greeting.
    greeting: Option<String>,
    /// An event contradicts what is known, unless the next number shows a gap.
    doubtful: bool,
    /// So many faults are certain, where it goes on behind them.
    certain: usize,
}

/// A log of libvirt.
pub struct Judge {
    monitors: Monitors,
    connections: HashMap<String, Connection>,
    /// Greetings that nobody answered yet.
    greetings: Vec<String>,
    /// Where something is missing: how often, and the first line that shows it.
    gaps: u64,
    first_gap: u64,
    keep_going: bool,
}

impl Judge {
    /// A log of daemons of `profile`, or of whichever fits each. Behind a fault it may go on.
    pub fn new(profile: Option<&'static Profile>, observer: Observer, keep_going: bool) -> Judge {
        Judge {
            monitors: Monitors::new(profile, observer, true).keep_going(keep_going),
            keep_going,
            connections: HashMap::new(),
            greetings: Vec::new(),
            gaps: 0,
            first_gap: 0,
        }
    }

    /// The log has so much of what was said.
    #[must_use]
    pub fn extent(self, extent: Extent) -> Judge {
        Judge {
            monitors: self.monitors.extent(extent),
            ..self
        }
    }

    /// How often something is missing, and the first line that shows it.
    pub const fn gaps(&self) -> (u64, u64) {
        (self.gaps, self.first_gap)
    }

    /// How many connections there were over which something went.
    pub const fn count(&self) -> usize {
        self.monitors.count()
    }

    /// The conversations.
    pub const fn monitors(&self) -> &Monitors {
        &self.monitors
    }

    /// The entry is a command as it was written that was logged before, when it was handed over.
    pub fn was_handed_over(&self, entry: &Entry<'_>) -> bool {
        matches!(entry.said, Said::Written(_))
            && self
                .connections
                .get(entry.monitor)
                .is_some_and(|connection| connection.handed)
    }

    /// Ends the log.
    pub fn end(self) -> Sentence {
        self.monitors.end()
    }

    /// Takes the next line; `false` once nothing more can be judged.
    pub fn take(&mut self, entry: &Entry<'_>) -> bool {
        let Entry {
            line,
            monitor,
            said,
        } = *entry;
        match said {
            Said::Greeting(greeting) => {
                if self.greetings.len() < GREETINGS_MAX {
                    self.greetings.push(greeting.to_owned());
                }
                true
            }
            Said::Opened | Said::Closed => {
                if !self.ascertain(monitor) {
                    return false;
                }
                self.connections.remove(monitor);
                self.monitors.close(monitor, self.monitors.faults(monitor));
                true
            }
            Said::Restarted => {
                let known: Vec<String> = self.connections.keys().cloned().collect();
                for monitor in known {
                    if !self.ascertain(&monitor) {
                        return false;
                    }
                    self.monitors
                        .close(&monitor, self.monitors.faults(&monitor));
                }
                self.monitors.close_all();
                self.connections.clear();
                self.greetings.clear();
                true
            }
            Said::Lost => {
                self.greetings.clear();
                if monitor.is_empty() {
                    self.gap(line);
                    let known: Vec<String> = self.connections.keys().cloned().collect();
                    known.iter().all(|monitor| self.begin_anew(line, monitor))
                } else {
                    self.miss(line, monitor)
                }
            }
            Said::Sent(command) => self.sent(line, monitor, command),
            Said::Written(command) => {
                let handed = self
                    .connections
                    .get(monitor)
                    .is_some_and(|connection| connection.handed);
                handed || self.sent_as_written(line, monitor, command)
            }
            Said::Received(message) => self.received(line, monitor, message),
        }
    }

    fn gap(&mut self, line: u64) {
        self.gaps += 1;
        if self.gaps == 1 {
            self.first_gap = line;
        }
    }

    /// Something that went over this monitor is missing.
    fn miss(&mut self, line: u64, monitor: &str) -> bool {
        self.gap(line);
        self.begin_anew(line, monitor)
    }

    /// Nothing was missing up to here, so what contradicted it is a fault; `false` where it ends there.
    fn ascertain(&mut self, monitor: &str) -> bool {
        let faults = self.monitors.faults(monitor);
        let Some(connection) = self.connections.get_mut(monitor) else {
            return true;
        };
        if connection.doubtful && !self.keep_going {
            return false;
        }
        connection.doubtful = false;
        connection.certain = faults;
        true
    }

    /// The conversation goes on as one that begins here.
    fn begin_anew(&mut self, line: u64, monitor: &str) -> bool {
        let known = self.connections.get(monitor);
        let certain = known.map_or(0, |connection| connection.certain);
        self.monitors.close(monitor, certain);
        let Some(connection) = self.connections.get_mut(monitor) else {
            return true;
        };
        connection.number = None;
        connection.answered = false;
        connection.doubtful = false;
        connection.certain = 0;
        self.greet(line, monitor)
    }

    /// The daemon at the other end is the one that greeted.
    fn greet(&mut self, line: u64, monitor: &str) -> bool {
        let greeting = self
            .connections
            .get(monitor)
            .and_then(|connection| connection.greeting.as_deref());
        let Some(message) = greeting.and_then(parsed) else {
            return true;
        };
        let record = Record {
            line,
            direction: Direction::Received,
            message,
            data: None,
        };
        self.monitors.take(monitor, &record)
    }

    fn connection(&mut self, monitor: &str) -> &mut Connection {
        if !self.connections.contains_key(monitor) {
            if self.connections.len() == CONNECTIONS_MAX {
                self.connections.clear();
                self.monitors.close_all();
            }
            self.connections
                .insert(monitor.to_owned(), Connection::default());
        }
        self.connections.entry(monitor.to_owned()).or_default()
    }

    /// A command that was written, and is not logged otherwise; it may have been written in vain.
    fn sent_as_written(&mut self, line: u64, monitor: &str, command: &str) -> bool {
        let number = parsed(command).and_then(|message| number(&message));
        let again = number.is_some() && self.connection(monitor).number == number;
        again || self.command(line, monitor, command)
    }

    fn sent(&mut self, line: u64, monitor: &str, command: &str) -> bool {
        self.connection(monitor).handed = true;
        self.command(line, monitor, command)
    }

    fn command(&mut self, line: u64, monitor: &str, command: &str) -> bool {
        let Some(message) = parsed(command) else {
            return self.miss(line, monitor);
        };
        let named = message.execute.as_str();
        if named.is_some_and(|name| name == "qmp_capabilities") {
            // That is the first thing said over a connection.
            if !self.ascertain(monitor) {
                return false;
            }
            self.monitors.close(monitor, self.monitors.faults(monitor));
            let greeting = self.claim_greeting();
            let connection = self.connection(monitor);
            *connection = Connection {
                handed: connection.handed,
                greeting,
                ..Connection::default()
            };
            if !self.greet(line, monitor) {
                return false;
            }
        }
        if let Some(number) = number(&message) {
            let connection = self.connection(monitor);
            let follows = connection
                .number
                .is_none_or(|last| connection.answered && number == last + 1);
            if !follows && !self.miss(line, monitor) {
                return false;
            }
            let connection = self.connection(monitor);
            connection.number = Some(number);
            connection.answered = false;
        }
        if !self.ascertain(monitor) {
            return false;
        }
        let record = Record {
            line,
            direction: Direction::Sent,
            message,
            data: None,
        };
        self.monitors.take(monitor, &record)
    }

    fn received(&mut self, line: u64, monitor: &str, message: &str) -> bool {
        let Some(message) = parsed(message) else {
            return self.miss(line, monitor);
        };
        if let Some(number) = number(&message) {
            let connection = self.connection(monitor);
            match connection.number {
                Some(last) if number > last => {
                    if !self.miss(line, monitor) {
                        return false;
                    }
                }
                // An answer that comes twice, or late, is the daemon's.
                last => connection.answered |= last == Some(number),
            }
        }
        let keep_going = self.keep_going;
        let event = message.event.is_present();
        // Between a command and its answer there is no other.
        if !event && !self.ascertain(monitor) {
            return false;
        }
        let connection = self.connection(monitor);
        if connection.doubtful && !keep_going {
            return true;
        }
        let numbered = connection.number.is_some();
        let record = Record {
            line,
            direction: Direction::Received,
            message,
            data: None,
        };
        let open = self.monitors.take(monitor, &record);
        if keep_going {
            let faults = self.monitors.faults(monitor);
            let connection = self.connection(monitor);
            if event && numbered {
                connection.doubtful |= faults > connection.certain;
            } else if !connection.doubtful {
                connection.certain = faults;
            }
            return open;
        }
        if !open && event && numbered {
            self.connection(monitor).doubtful = true;
            return true;
        }
        open
    }

    /// The greeting that the command which answers it is for: only if there is no doubt.
    fn claim_greeting(&mut self) -> Option<String> {
        let greeting = self.greetings.pop()?;
        if self.greetings.iter().any(|other| *other != greeting) {
            self.greetings.clear();
            return None;
        }
        Some(greeting)
    }
}

fn parsed(text: &str) -> Option<Message<'_>> {
    let mut message = Message::default();
    match scan::members(text, &mut message) {
        Some(()) => Some(message),
        None => serde_json::from_str::<Message<'_>>(text).ok(),
    }
}

/// The number libvirt gave a command.
fn number(message: &Message<'_>) -> Option<u64> {
    message.id.as_str()?.strip_prefix("libvirt-")?.parse().ok()
}
