//! A second opinion on a QMP conversation: a few rules written from SEMANTICS.md alone, without the specification's
//! tables, steps or acceptor, so that it cannot share their mistakes.
//!
//! It knows little. What it calls illegal is illegal; of the rest it says nothing.
#![allow(missing_docs)]

use std::collections::HashMap;

use serde_json::Value;

/// SEMANTICS.md §1b, written out once more: from, and everywhere to.
const MOVES: &[(&str, &str)] = &[
    ("created", "running aborting null"),
    ("running", "paused ready waiting aborting"),
    ("paused", "running"),
    ("ready", "standby waiting aborting"),
    ("standby", "ready"),
    ("waiting", "pending aborting"),
    ("pending", "aborting concluded"),
    ("aborting", "concluded"),
    ("concluded", "null"),
];

/// And its verb table: the command, and in which statuses it can succeed.
const VERBS: &[(&str, &str)] = &[
    ("job-pause", "created running paused ready standby"),
    ("job-resume", "created running paused ready standby"),
    ("job-complete", "ready standby"),
    ("job-finalize", "pending"),
    ("job-dismiss", "concluded"),
    (
        "job-cancel",
        "created running paused ready standby waiting pending",
    ),
];

#[derive(Default)]
struct Job {
    status: String,
    /// It ran.
    ran: bool,
    /// `BLOCK_JOB_READY` is due.
    owes_ready: bool,
    /// Its terminal event was seen.
    over: bool,
}

struct Asked {
    command: String,
    id: Option<String>,
    /// Every status that the job named has had since, the one at that moment first; none where it is not known.
    statuses: Vec<String>,
    /// What every known job has been since.
    jobs: HashMap<String, Vec<String>>,
}

/// What is certainly wrong with a conversation: the line, from 1, and the rule; nothing where nothing is.
pub fn illegal(lines: &[Value]) -> Option<(usize, &'static str)> {
    let mut jobs: HashMap<String, Job> = HashMap::new();
    let mut asked: Vec<Asked> = Vec::new();
    let mut began = false;
    // A job that makes an image is no block job: nothing but its status is announced (§7.1).
    let quiet: Vec<&str> = lines
        .iter()
        .filter(|line| line["msg"]["execute"] == "blockdev-create")
        .filter_map(|line| line["msg"]["arguments"]["job-id"].as_str())
        .collect();
    for (at, line) in lines.iter().enumerate() {
        let message = &line["msg"];
        let verdict = if line["dir"] == ">" {
            began = true;
            ask(&jobs, &mut asked, message);
            Ok(())
        } else if let Some(event) = message["event"].as_str() {
            hear(&mut jobs, &mut asked, &quiet, event, &message["data"])
        } else if message.get("return").is_some() || message.get("error").is_some() {
            // Who begins to record late sees answers to what was asked before.
            if began {
                answer(&mut asked, message)
            } else {
                Ok(())
            }
        } else {
            Ok(())
        };
        if let Err(rule) = verdict {
            return Some((at + 1, rule));
        }
    }
    None
}

fn ask(jobs: &HashMap<String, Job>, asked: &mut Vec<Asked>, message: &Value) {
    let id = message["arguments"]["id"].as_str().map(str::to_owned);
    let status = id.as_ref().and_then(|id| jobs.get(id));
    asked.push(Asked {
        command: message["execute"].as_str().unwrap_or_default().to_owned(),
        statuses: status.map(|job| job.status.clone()).into_iter().collect(),
        id,
        jobs: jobs
            .iter()
            .map(|(id, job)| (id.clone(), vec![job.status.clone()]))
            .collect(),
    });
}

fn hear(
    jobs: &mut HashMap<String, Job>,
    asked: &mut [Asked],
    quiet: &[&str],
    event: &str,
    data: &Value,
) -> Result<(), &'static str> {
    if event == "JOB_STATUS_CHANGE" {
        let (Some(id), Some(status)) = (data["id"].as_str(), data["status"].as_str()) else {
            return Ok(());
        };
        for asked in asked {
            if asked.id.as_deref() == Some(id) {
                asked.statuses.push(status.to_owned());
            }
            asked
                .jobs
                .entry(id.to_owned())
                .or_default()
                .push(status.to_owned());
        }
        return change(jobs, id, status, quiet.contains(&id));
    }
    let Some(job) = data["device"].as_str().and_then(|id| jobs.get_mut(id)) else {
        return Ok(());
    };
    match event {
        "BLOCK_JOB_READY" if !std::mem::take(&mut job.owes_ready) => Err("ready out of place"),
        "BLOCK_JOB_COMPLETED" | "BLOCK_JOB_CANCELLED" => {
            let failed = event == "BLOCK_JOB_CANCELLED" || data.get("error").is_some();
            let fits = match job.status.as_str() {
                "pending" => !failed,
                "aborting" => failed,
                _ => return Err("the end is announced out of place"),
            };
            if std::mem::replace(&mut job.over, true) {
                return Err("the end is announced twice");
            }
            if fits {
                Ok(())
            } else {
                Err("the end is not the one that was decided")
            }
        }
        _ if job.owes_ready && event.starts_with("BLOCK_JOB_") => Err("ready is not announced"),
        _ => Ok(()),
    }
}

fn change(
    jobs: &mut HashMap<String, Job>,
    id: &str,
    status: &str,
    quiet: bool,
) -> Result<(), &'static str> {
    let Some(job) = jobs.get_mut(id) else {
        // Whose beginning was not seen may be anybody's.
        if status == "created" {
            let job = Job {
                status: status.to_owned(),
                ..Job::default()
            };
            jobs.insert(id.to_owned(), job);
        }
        return Ok(());
    };
    let moves = MOVES.iter().find(|(from, _)| *from == job.status);
    if !moves.is_some_and(|(_, to)| to.split(' ').any(|to| to == status)) {
        return Err("no such move");
    }
    if job.owes_ready {
        return Err("ready is not announced");
    }
    if status == "concluded" && job.ran && !job.over && !quiet {
        return Err("the end is not announced");
    }
    job.ran |= status == "running";
    // From standby it comes back to ready, and says nothing.
    job.owes_ready = status == "ready" && job.status == "running";
    status.clone_into(&mut job.status);
    if status == "null" {
        jobs.remove(id);
    }
    Ok(())
}

fn answer(asked: &mut Vec<Asked>, message: &Value) -> Result<(), &'static str> {
    if asked.is_empty() {
        return Err("an answer to nothing");
    }
    let Asked {
        command,
        statuses,
        jobs,
        ..
    } = asked.remove(0);
    if let Some(error) = message.get("error") {
        let named = error["desc"].as_str().and_then(|desc| {
            let (_, rest) = desc.split_once("' in state '")?;
            rest.split_once("' cannot accept").map(|(status, _)| status)
        });
        return match named {
            Some(named)
                if !statuses.is_empty() && !statuses.iter().any(|status| status == named) =>
            {
                Err("a refusal names a status that the job did not have")
            }
            _ => Ok(()),
        };
    }
    let answer = &message["return"];
    if command == "query-jobs" {
        let Some(listed) = answer.as_array() else {
            return Err("an answer of the wrong kind");
        };
        for entry in listed {
            let (Some(id), Some(status)) = (entry["id"].as_str(), entry["status"].as_str()) else {
                continue;
            };
            if let Some(statuses) = jobs.get(id)
                && !statuses.iter().any(|had| had == status)
            {
                return Err("a list shows a status that the job did not have");
            }
        }
        for (id, statuses) in &jobs {
            let alive = !statuses
                .iter()
                .any(|status| status == "null" || status == "created");
            if alive && !listed.iter().any(|entry| entry["id"] == id.as_str()) {
                return Err("a list leaves a job out");
            }
        }
        return Ok(());
    }
    let Some((_, permitted)) = VERBS.iter().find(|(verb, _)| *verb == command) else {
        return Ok(());
    };
    if answer.is_array() {
        return Err("an answer of the wrong kind");
    }
    let may = |status: &String| permitted.split(' ').any(|permitted| permitted == status);
    if !statuses.is_empty() && !statuses.iter().any(may) {
        return Err("a verb succeeds that the job's status does not permit");
    }
    Ok(())
}
