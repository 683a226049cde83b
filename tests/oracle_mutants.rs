//! Goal: what must not be is refused wherever it stands, not only where the corpus's mutants
//! have it.
//!
//! Method: every recording of QEMU 10.0 is altered in each of the ways below, at each place where
//! the way applies. A way is listed only if what it makes is illegal by the specification, QMP or
//! its schema, whatever the recording. Every mutant must be refused, no earlier than its first
//! altered line; how many there are, and which rules find them, is pinned.

#![cfg(feature = "cli")]
// A failed unwrap in a test is the test failing.
#![allow(clippy::unwrap_used)]

mod recordings;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use blockjob::oracle::{self, Options};
use recordings::Recording as Trace;
use serde_json::{Value, json};

/// One line of a recording.
type Line = Value;

/// How many places of one recording are altered in the same way, at most.
const PLACES_MAX: usize = 8;

impl Trace {
    /// The lines whose message fits, with a copy of the recording to alter.
    ///
    /// Of more than [`PLACES_MAX`] places in one recording, some are left out evenly.
    fn at(&self, fits: impl Fn(&Trace, usize) -> bool) -> Vec<(usize, Vec<Line>)> {
        let places: Vec<usize> = (0..self.lines.len())
            .filter(|&place| fits(self, place))
            .collect();
        places
            .iter()
            .step_by(places.len().div_ceil(PLACES_MAX).max(1))
            .map(|&place| (place, self.lines.clone()))
            .collect()
    }

    fn message(&self, place: usize) -> &Value {
        &self.lines[place]["msg"]
    }

    fn is_event(&self, place: usize, name: &str) -> bool {
        self.message(place)["event"] == name
    }

    fn is_status(&self, place: usize, status: &str) -> bool {
        self.is_event(place, "JOB_STATUS_CHANGE") && self.message(place)["data"]["status"] == status
    }

    /// The job an event is about.
    fn job(&self, place: usize) -> Option<&str> {
        let data = &self.message(place)["data"];
        data["id"].as_str().or_else(|| data["device"].as_str())
    }

    fn is_reply(&self, place: usize) -> bool {
        let message = self.message(place);
        message.get("return").is_some() || message.get("error").is_some()
    }

    /// The command that the reply in line `place` answers: they are answered in order.
    fn command_of(&self, place: usize) -> Option<&Value> {
        if !self.is_reply(place) {
            return None;
        }
        let earlier = (0..place).filter(|&other| self.is_reply(other)).count();
        (0..place)
            .filter(|&other| self.lines[other]["dir"] == ">")
            .nth(earlier)
            .map(|other| self.message(other))
    }

    fn answers(&self, place: usize, commands: &[&str]) -> bool {
        self.command_of(place)
            .and_then(|command| command["execute"].as_str())
            .is_some_and(|name| commands.contains(&name))
    }

    fn succeeded(&self, place: usize) -> bool {
        self.message(place).get("return").is_some()
    }

    /// The listed jobs, where `place` answers a query with at least `count`.
    fn lists(&self, place: usize, commands: &[&str], count: usize) -> bool {
        self.answers(place, commands)
            && self.message(place)["return"]
                .as_array()
                .is_some_and(|jobs| jobs.len() >= count)
    }

    fn quits_before(&self, place: usize) -> bool {
        before(place, |other| self.message(other)["execute"] == "quit")
    }
}

/// Whether an earlier line fits.
fn before(place: usize, fits: impl Fn(usize) -> bool) -> bool {
    (0..place).any(fits)
}

/// A way to alter a recording: the mutants, each with the first line it alters (from 0).
type Way = fn(&Trace) -> Vec<(usize, Vec<Line>)>;

const VERBS: [&str; 13] = [
    "job-pause",
    "job-resume",
    "job-cancel",
    "job-complete",
    "job-finalize",
    "job-dismiss",
    "block-job-pause",
    "block-job-resume",
    "block-job-cancel",
    "block-job-complete",
    "block-job-finalize",
    "block-job-dismiss",
    "block-job-set-speed",
];
const QUERIES: [&str; 2] = ["query-jobs", "query-block-jobs"];
const CREATORS: [&str; 5] = [
    "blockdev-backup",
    "blockdev-mirror",
    "block-stream",
    "block-commit",
    "transaction",
];

/// Alters one line.
fn edit(sites: Vec<(usize, Vec<Line>)>, alter: impl Fn(&mut Value)) -> Vec<(usize, Vec<Line>)> {
    sites
        .into_iter()
        .map(|(place, mut lines)| {
            alter(&mut lines[place]["msg"]);
            (place, lines)
        })
        .collect()
}

fn remove(sites: Vec<(usize, Vec<Line>)>) -> Vec<(usize, Vec<Line>)> {
    sites
        .into_iter()
        .map(|(place, mut lines)| {
            lines.remove(place);
            (place, lines)
        })
        .collect()
}

fn double(sites: Vec<(usize, Vec<Line>)>) -> Vec<(usize, Vec<Line>)> {
    sites
        .into_iter()
        .map(|(place, mut lines)| {
            lines.insert(place, lines[place].clone());
            (place, lines)
        })
        .collect()
}

fn error(message: &mut Value, desc: &str) {
    let message = message.as_object_mut().unwrap();
    message.remove("return");
    message.insert(
        "error".to_owned(),
        json!({"class": "GenericError", "desc": desc}),
    );
}

fn succeed(message: &mut Value) {
    let message = message.as_object_mut().unwrap();
    message.remove("error");
    message.insert("return".to_owned(), json!({}));
}

fn listed(message: &mut Value) -> &mut Vec<Value> {
    message["return"].as_array_mut().unwrap()
}

const TERMINAL: [&str; 2] = ["BLOCK_JOB_COMPLETED", "BLOCK_JOB_CANCELLED"];

fn is_terminal(trace: &Trace, place: usize) -> bool {
    TERMINAL.iter().any(|name| trace.is_event(place, name))
}

/// Whether a later event is of the same job.
fn goes_on(trace: &Trace, place: usize) -> bool {
    (place + 1..trace.lines.len())
        .any(|other| trace.job(other).is_some() && trace.job(other) == trace.job(place))
}

const WAYS: &[(&str, Way)] = &[
    ("a refused verb succeeds", |trace| {
        edit(
            // Where others act too, a pause of theirs may have come between.
            trace.at(|t, p| t.answers(p, &VERBS) && !t.succeeded(p) && !t.name.contains("/view-")),
            succeed,
        )
    }),
    ("an accepted pause is refused as a second one", |trace| {
        edit(
            trace.at(|t, p| t.answers(p, &["job-pause"]) && t.succeeded(p)),
            |m| error(m, "Job is already paused"),
        )
    }),
    ("an accepted resume is refused", |trace| {
        edit(
            trace.at(|t, p| t.answers(p, &["job-resume"]) && t.succeeded(p)),
            |m| error(m, "Can't resume a job that was not paused"),
        )
    }),
    ("an accepted verb finds no job", |trace| {
        edit(
            trace.at(|t, p| {
                t.answers(p, &["job-pause", "job-resume", "job-complete"]) && t.succeeded(p)
            }),
            |m| error(m, "Job not found"),
        )
    }),
    ("a refusal names another status", |trace| {
        edit(
            trace.at(|t, p| {
                t.message(p)["error"]["desc"]
                    .as_str()
                    .is_some_and(|desc| desc.contains("in state"))
            }),
            |m| {
                let desc = m["error"]["desc"].as_str().unwrap();
                let (head, rest) = desc.split_once("in state '").unwrap();
                let (_, tail) = rest.split_once('\'').unwrap();
                m["error"]["desc"] = json!(format!("{head}in state 'created'{tail}"));
            },
        )
    }),
    ("a refusal names another job", |trace| {
        edit(
            trace.at(|t, p| {
                t.message(p)["error"]["desc"]
                    .as_str()
                    .is_some_and(|desc| desc.contains("in state"))
            }),
            |m| {
                let desc = m["error"]["desc"].as_str().unwrap();
                m["error"]["desc"] = json!(desc.replacen("Job '", "Job 'not-", 1));
            },
        )
    }),
    ("a refusal names another verb", |trace| {
        edit(
            trace.at(|t, p| {
                t.message(p)["error"]["desc"]
                    .as_str()
                    .is_some_and(|desc| desc.contains("command verb"))
            }),
            |m| {
                let desc = m["error"]["desc"].as_str().unwrap();
                let (head, _) = desc.split_once("command verb").unwrap();
                m["error"]["desc"] = json!(format!("{head}command verb 'change'"));
            },
        )
    }),
    ("a refusal has another class", |trace| {
        edit(
            trace.at(|t, p| {
                t.answers(p, &VERBS)
                    && t.message(p)["error"]["class"] == "GenericError"
                    && t.message(p)["error"]["desc"]
                        .as_str()
                        .is_some_and(|desc| desc.starts_with("Job "))
            }),
            |m| m["error"]["class"] = json!("DeviceNotActive"),
        )
    }),
    ("an error without a text", |trace| {
        edit(trace.at(|t, p| t.message(p).get("error").is_some()), |m| {
            m["error"].as_object_mut().unwrap().remove("desc");
        })
    }),
    ("READY does not come", |trace| {
        remove(trace.at(|t, p| t.is_event(p, "BLOCK_JOB_READY") && goes_on(t, p)))
    }),
    ("READY comes twice", |trace| {
        double(trace.at(|t, p| t.is_event(p, "BLOCK_JOB_READY")))
    }),
    ("PENDING comes twice", |trace| {
        double(trace.at(|t, p| t.is_event(p, "BLOCK_JOB_PENDING")))
    }),
    ("the terminal event comes twice", |trace| {
        double(trace.at(is_terminal))
    }),
    ("the terminal event does not come", |trace| {
        remove(trace.at(|t, p| is_terminal(t, p) && goes_on(t, p)))
    }),
    ("a status is announced twice", |trace| {
        double(trace.at(|t, p| t.is_event(p, "JOB_STATUS_CHANGE")))
    }),
    ("waiting is left out", |trace| {
        remove(trace.at(|t, p| t.is_status(p, "waiting") && goes_on(t, p)))
    }),
    ("pending is left out", |trace| {
        remove(trace.at(|t, p| t.is_status(p, "pending") && goes_on(t, p)))
    }),
    ("aborting is left out", |trace| {
        remove(trace.at(|t, p| t.is_status(p, "aborting") && goes_on(t, p)))
    }),
    ("concluded is left out", |trace| {
        remove(trace.at(|t, p| t.is_status(p, "concluded") && goes_on(t, p)))
    }),
    ("the first running is left out", |trace| {
        remove(trace.at(|t, p| {
            t.is_status(p, "running")
                && goes_on(t, p)
                && !before(p, |o| t.is_status(o, "running") && t.job(o) == t.job(p))
        }))
    }),
    ("no such status", |trace| {
        edit(trace.at(|t, p| t.is_event(p, "JOB_STATUS_CHANGE")), |m| {
            m["data"]["status"] = json!("finished");
        })
    }),
    ("an event of no job", |trace| {
        edit(trace.at(is_terminal), |m| {
            m["data"]["device"] = json!("ghost");
        })
    }),
    ("an event of another type of job", |trace| {
        edit(trace.at(is_terminal), |m| {
            m["data"]["type"] = json!("export");
        })
    }),
    ("an event's length is text", |trace| {
        edit(trace.at(is_terminal), |m| {
            m["data"]["len"] = json!("4194304");
        })
    }),
    ("an event's progress is negative", |trace| {
        edit(trace.at(is_terminal), |m| m["data"]["offset"] = json!(-1))
    }),
    ("an event shows a speed nobody set", |trace| {
        edit(
            trace.at(|t, p| is_terminal(t, p) && !t.name.contains("/view-")),
            |m| m["data"]["speed"] = json!(77),
        )
    }),
    ("an aborted job ends without an error", |trace| {
        edit(
            trace.at(|t, p| {
                t.is_event(p, "BLOCK_JOB_COMPLETED") && t.message(p)["data"]["error"].is_string()
            }),
            |m| {
                m["data"].as_object_mut().unwrap().remove("error");
            },
        )
    }),
    ("a committed job ends with an error", |trace| {
        edit(
            trace.at(|t, p| {
                t.is_event(p, "BLOCK_JOB_COMPLETED") && !t.message(p)["data"]["error"].is_string()
            }),
            |m| m["data"]["error"] = json!("Input/output error"),
        )
    }),
    ("a cancelled job completes", |trace| {
        edit(
            trace.at(|t, p| {
                t.is_event(p, "BLOCK_JOB_CANCELLED")
                    && !t.quits_before(p)
                    && !t.name.contains("/view-")
            }),
            |m| m["event"] = json!("BLOCK_JOB_COMPLETED"),
        )
    }),
    ("a job that nobody cancelled is cancelled", |trace| {
        edit(
            trace.at(|t, p| {
                t.is_event(p, "BLOCK_JOB_COMPLETED")
                    && !t.quits_before(p)
                    && !before(p, |o| {
                        t.message(o)["execute"]
                            .as_str()
                            .is_some_and(|name| name.contains("cancel"))
                    })
            }),
            |m| m["event"] = json!("BLOCK_JOB_CANCELLED"),
        )
    }),
    ("a job succeeds after a reported error", |trace| {
        edit(
            trace.at(|t, p| {
                t.is_status(p, "aborting")
                    && before(p, |o| {
                        t.is_event(o, "BLOCK_JOB_ERROR")
                            && t.message(o)["data"]["action"] == "report"
                            && t.job(o) == t.job(p)
                    })
            }),
            |m| m["data"]["status"] = json!("waiting"),
        )
    }),
    ("an I/O error is neither read nor write", |trace| {
        edit(trace.at(|t, p| t.is_event(p, "BLOCK_JOB_ERROR")), |m| {
            m["data"]["operation"] = json!("flush");
        })
    }),
    ("a live job is not listed", |trace| {
        edit(trace.at(|t, p| t.lists(p, &QUERIES, 1)), |m| {
            listed(m).pop();
        })
    }),
    ("a job is listed twice", |trace| {
        edit(trace.at(|t, p| t.lists(p, &QUERIES, 1)), |m| {
            let first = listed(m)[0].clone();
            listed(m).push(first);
        })
    }),
    ("jobs are listed oldest first", |trace| {
        edit(trace.at(|t, p| t.lists(p, &QUERIES, 2)), |m| {
            listed(m).reverse();
        })
    }),
    ("a job nobody made is listed", |trace| {
        edit(
            trace.at(|t, p| {
                t.lists(p, &["query-jobs"], 1) && before(p, |o| t.answers(o, &["query-jobs"]))
            }),
            |m| {
                let mut ghost = listed(m)[0].clone();
                ghost["id"] = json!("ghost");
                listed(m).push(ghost);
            },
        )
    }),
    ("a job is listed with another status", |trace| {
        edit(trace.at(|t, p| t.lists(p, &QUERIES, 1)), |m| {
            let job = &mut listed(m)[0];
            let other = if job["status"] == "concluded" {
                "running"
            } else {
                "concluded"
            };
            job["status"] = json!(other);
        })
    }),
    ("a job is listed with other flags", |trace| {
        edit(
            trace.at(|t, p| t.lists(p, &["query-block-jobs"], 1) && !t.name.contains("/view-")),
            |m| {
                let job = &mut listed(m)[0];
                job["auto-dismiss"] = json!(job["auto-dismiss"] == json!(false));
            },
        )
    }),
    ("`ready` contradicts the status", |trace| {
        edit(trace.at(|t, p| t.lists(p, &["query-block-jobs"], 1)), |m| {
            let job = &mut listed(m)[0];
            job["ready"] = json!(job["ready"] == json!(false));
        })
    }),
    ("an error state out of nothing", |trace| {
        edit(
            trace.at(|t, p| {
                t.lists(p, &["query-block-jobs"], 1)
                    && !t.name.contains("/view-")
                    && t.message(p)["return"][0]["io-status"] == "ok"
            }),
            |m| listed(m)[0]["io-status"] = json!("failed"),
        )
    }),
    ("an error state is forgotten", |trace| {
        edit(
            trace.at(|t, p| {
                t.lists(p, &["query-block-jobs"], 1)
                    && t.message(p)["return"][0]["io-status"] == "failed"
            }),
            |m| listed(m)[0]["io-status"] = json!("ok"),
        )
    }),
    ("a failed job is listed without its error", |trace| {
        edit(
            trace.at(|t, p| {
                t.lists(p, &QUERIES, 1) && t.message(p)["return"][0]["error"].is_string()
            }),
            |m| {
                listed(m)[0].as_object_mut().unwrap().remove("error");
            },
        )
    }),
    ("a concluded success is listed with an error", |trace| {
        edit(
            trace.at(|t, p| {
                t.lists(p, &QUERIES, 1)
                    && t.message(p)["return"][0]["status"] == "concluded"
                    && !t.message(p)["return"][0]["error"].is_string()
            }),
            |m| listed(m)[0]["error"] = json!("Input/output error"),
        )
    }),
    ("progress is listed beyond its end", |trace| {
        edit(trace.at(|t, p| t.lists(p, &["query-jobs"], 1)), |m| {
            let job = &mut listed(m)[0];
            job["current-progress"] = json!(job["total-progress"].as_u64().unwrap() + 1);
        })
    }),
    ("a query returns an object", |trace| {
        edit(trace.at(|t, p| t.answers(p, &QUERIES)), |m| {
            m["return"] = json!({});
        })
    }),
    ("a verb returns a list", |trace| {
        edit(
            trace.at(|t, p| t.answers(p, &VERBS) && t.succeeded(p)),
            |m| m["return"] = json!([]),
        )
    }),
    ("a start that succeeded fails", |trace| {
        edit(
            trace.at(|t, p| {
                t.answers(p, &CREATORS)
                    && t.succeeded(p)
                    && (0..t.lines.len()).any(|o| o > p && t.is_status(o, "concluded"))
            }),
            |m| error(m, "Cannot find device='nosuch' nor node-name='nosuch'"),
        )
    }),
    ("a start that failed succeeds", |trace| {
        edit(
            trace.at(|t, p| t.answers(p, &CREATORS) && !t.succeeded(p)),
            succeed,
        )
    }),
    ("a reply has another id", |trace| {
        edit(
            trace.at(|t, p| t.is_reply(p) && t.message(p)["id"].is_string()),
            |m| m["id"] = json!("c999"),
        )
    }),
    ("a reply has an id nobody gave", |trace| {
        edit(
            trace.at(|t, p| t.is_reply(p) && t.message(p).get("id").is_none()),
            |m| m["id"] = json!(1),
        )
    }),
    ("a reply comes twice", |trace| {
        double(trace.at(Trace::is_reply))
    }),
    ("finalize answers before its work is done", |trace| {
        // The reply comes right after the command, the events after it.
        trace
            .at(|t, p| t.answers(p, &["job-finalize", "job-dismiss"]) && t.succeeded(p))
            .into_iter()
            .filter_map(|(place, mut lines)| {
                let sent = (0..place).rev().find(|&o| lines[o]["dir"] == ">")?;
                if sent + 1 == place
                    || lines[sent]["msg"].get("id") != lines[place]["msg"].get("id")
                {
                    return None;
                }
                let reply = lines.remove(place);
                lines.insert(sent + 1, reply);
                Some((sent + 1, lines))
            })
            .collect()
    }),
    ("group members commit oldest first", |trace| {
        // Successful members of one transaction: newest first.
        if !trace.name.contains("txn-grouped") {
            return Vec::new();
        }
        trace
            .at(|t, p| {
                t.is_event(p, "BLOCK_JOB_COMPLETED")
                    && !t.message(p)["data"]["error"].is_string()
                    && t.lines.get(p + 2).is_some()
                    && t.is_event(p + 2, "BLOCK_JOB_COMPLETED")
            })
            .into_iter()
            .map(|(place, mut lines)| {
                lines.swap(place, place + 2);
                lines.swap(place + 1, place + 3);
                (place, lines)
            })
            .collect()
    }),
    ("neither greeting, event nor reply", |trace| {
        edit(trace.at(|t, p| t.lines[p]["dir"] == "<"), |m| {
            *m = json!({"x": 1});
        })
    }),
];

#[test]
fn every_illegal_alteration_is_refused() {
    let recordings = recordings::recordings(&["live-10.0"]);
    let mut report = String::new();
    let mut missed = String::new();
    for (name, way) in WAYS {
        let mut count = 0;
        let mut rules: BTreeMap<&str, usize> = BTreeMap::new();
        for trace in &recordings {
            for (place, lines) in way(trace) {
                count += 1;
                let text: String = lines
                    .iter()
                    .fold(String::new(), |text, line| text + &format!("{line}\n"));
                let verdict =
                    oracle::check_reader(&trace.name, text.as_bytes(), &Options::default());
                match verdict.fault() {
                    Some(fault) if fault.line > place as u64 => {
                        *rules.entry(fault.rule).or_default() += 1;
                    }
                    Some(_) => writeln!(missed, "{name}: too early: {verdict}").unwrap(),
                    None => writeln!(missed, "{name}: line {}: {verdict}", place + 1).unwrap(),
                }
            }
        }
        assert!(count > 0, "{name}: applies nowhere");
        writeln!(report, "{name}: {count} {rules:?}").unwrap();
    }
    assert!(missed.is_empty(), "{missed}");
    insta::assert_snapshot!(report);
}
