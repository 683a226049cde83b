//! Conversations that are made here: short ones, long ones, of many jobs, with names that are markup.
#![allow(dead_code)] // Each test file uses its part.

use std::fmt::Write as _;
use std::path::PathBuf;

use serde_json::{Value, json};
use tempfile::TempDir;

/// A conversation, a message a line.
pub struct Made {
    text: String,
    time_ms: u64,
    next: u64,
}

impl Default for Made {
    fn default() -> Made {
        let mut made = Made {
            text: String::new(),
            time_ms: 0,
            next: 0,
        };
        made.says(
            "<",
            &json!({"QMP": {"version": {"qemu": {"major": 10, "minor": 0}}}}),
        );
        made
    }
}

impl Made {
    fn says(&mut self, dir: &str, msg: &Value) {
        self.time_ms += 1;
        let t = self.time_ms as f64 / 1000.0;
        writeln!(self.text, "{}", json!({"t": t, "dir": dir, "msg": msg})).unwrap();
    }

    fn status(&mut self, id: &str, status: &str) {
        let data = json!({"id": id, "status": status});
        self.says("<", &json!({"event": "JOB_STATUS_CHANGE", "data": data}));
    }

    fn create(&mut self, id: &str) {
        let arguments = json!({"job-id": id, "device": "d", "target": "t", "sync": "full"});
        let command =
            json!({"execute": "blockdev-backup", "arguments": arguments, "id": self.next});
        self.says(">", &command);
        for status in ["created", "running"] {
            self.status(id, status);
        }
        self.says("<", &json!({"return": {}, "id": self.next}));
        self.next += 1;
    }

    fn ends(&mut self, id: &str) {
        for status in ["waiting", "pending"] {
            self.status(id, status);
        }
        let data = json!({"device": id, "type": "backup", "len": 5, "offset": 5, "speed": 0});
        self.says("<", &json!({"event": "BLOCK_JOB_COMPLETED", "data": data}));
        for status in ["concluded", "null"] {
            self.status(id, status);
        }
    }

    /// A job that runs from its creation to its end.
    pub fn job(mut self, id: &str) -> Made {
        self.create(id);
        self.ends(id);
        self
    }

    /// So many jobs at a time, each paused and resumed by itself so many times, under a silence now and then.
    pub fn many(mut self, jobs: u64, rounds: u64) -> Made {
        let id = |job: u64| format!("job-{job}");
        for job in 0..jobs {
            self.create(&id(job));
        }
        for round in 0..rounds {
            if round % 7 == 0 {
                self.time_ms += 5000;
            }
            for job in 0..jobs {
                self.status(&id(job), "paused");
                self.status(&id(job), "running");
            }
        }
        for job in 0..jobs {
            self.ends(&id(job));
        }
        self
    }

    /// A job becomes something.
    pub fn then_status(mut self, id: &str, status: &str) -> Made {
        self.status(id, status);
        self
    }

    /// A command of this name.
    pub fn then_command(mut self, name: &str) -> Made {
        self.says(">", &json!({"execute": name}));
        self
    }

    /// A command is refused in these words.
    pub fn then_refusal(mut self, text: &str) -> Made {
        self.says(
            ">",
            &json!({"execute": "job-pause", "arguments": {"id": text}}),
        );
        let error = json!({"class": "GenericError", "desc": text});
        self.says("<", &json!({"error": error}));
        self
    }

    /// The file.
    pub fn write(&self, folder: &TempDir) -> PathBuf {
        let path = folder.path().join("made.jsonl");
        std::fs::write(&path, &self.text).unwrap();
        path
    }
}
