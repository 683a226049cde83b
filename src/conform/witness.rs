//! The second witness: QEMU's own trace log, held against what it said over QMP.
//!
//! The log names jobs by address, the events by id. Both tell of creation, so the n-th job that the one creates is
//! the n-th of the other; from there on both must tell the same statuses in the same order. An address may be used
//! again, and so may an id.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use blockjob_model::{Status, Verb};

use super::conversation::Life;
use crate::oracle::reader::lines::Line;
use crate::oracle::reader::qemu_log::{Said, read};

/// What the log says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Testimony {
    /// Every job's statuses, in the order of creation.
    pub lives: Vec<Vec<Status>>,
    /// What the verb table refused.
    pub refusals: Vec<(Verb, Status)>,
}

/// Reads what was added to the log at `path` behind `from`; and where it ends now.
///
/// # Errors
/// It cannot be read.
pub fn hear(path: &Path, from: u64) -> io::Result<(Testimony, u64)> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok((testimony(&text), from + bytes.len() as u64))
}

fn testimony(log: &str) -> Testimony {
    let mut said = Testimony::default();
    let mut alive: HashMap<String, usize> = HashMap::new();
    for text in log.lines() {
        let line = Line {
            number: 1,
            text,
            whole: true,
        };
        match read(&line).map(|entry| entry.said) {
            Some(Said::Transition { job, from, to, .. }) => {
                let Some(status) = Status::from_name(to) else {
                    continue;
                };
                if status == Status::Created {
                    alive.insert(job.to_owned(), said.lives.len());
                    said.lives.push(vec![status]);
                } else if from != to
                    && let Some(place) = alive.get(job)
                {
                    said.lives[*place].push(status);
                }
            }
            Some(Said::Verb {
                status,
                verb,
                allowed: false,
                ..
            }) => said
                .refusals
                .extend(Verb::from_name(verb).zip(Status::from_name(status))),
            _ => {}
        }
    }
    said
}

/// Where the two tell different things.
pub fn differ(said: &Testimony, lives: &[Life], refusals: &[(Verb, Status)]) -> Option<String> {
    let names = |statuses: &[Status]| {
        let names: Vec<&str> = statuses.iter().map(|status| status.name()).collect();
        names.join(", ")
    };
    for (place, life) in lives.iter().enumerate() {
        let logged = said.lives.get(place).map_or(&[][..], Vec::as_slice);
        if logged != life.statuses.as_slice() {
            return Some(format!(
                "job '{}', created as number {}: its events say {}, but the trace log says {}",
                life.id,
                place + 1,
                names(&life.statuses),
                if logged.is_empty() {
                    "nothing of it".to_owned()
                } else {
                    names(logged)
                }
            ));
        }
    }
    if said.lives.len() > lives.len() {
        return Some(format!(
            "the trace log has {} jobs, of which the events tell of {}",
            said.lives.len(),
            lives.len()
        ));
    }
    if said.refusals != refusals {
        let told = |all: &[(Verb, Status)]| {
            let all: Vec<String> = all.iter().map(|(v, s)| format!("{v} in {s}")).collect();
            if all.is_empty() {
                "none".to_owned()
            } else {
                all.join(", ")
            }
        };
        return Some(format!(
            "refused by the verb table: the answers say {}, but the trace log says {}",
            told(refusals),
            told(&said.refusals)
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use Status::{Aborting, Concluded, Created, Null, Running};

    const LOG: &str = "\
job_state_transition job 0x1 (ret: 0) attempting allowed transition (undefined-->created)
job_state_transition job 0x1 (ret: 0) attempting allowed transition (created-->running)
job_apply_verb job 0x1 in state running; applying verb finalize (prohibited)
job_state_transition job 0x1 (ret: -125) attempting allowed transition (running-->aborting)
job_state_transition job 0x1 (ret: -125) attempting allowed transition (aborting-->aborting)
job_state_transition job 0x1 (ret: -125) attempting allowed transition (aborting-->concluded)
job_state_transition job 0x1 (ret: -125) attempting allowed transition (concluded-->null)
";

    fn lives() -> Vec<Life> {
        vec![Life {
            id: "j0".to_owned(),
            statuses: vec![Created, Running, Aborting, Concluded, Null],
        }]
    }

    #[test]
    fn the_same_story_agrees_and_another_does_not() {
        let said = testimony(LOG);
        let refused = [(Verb::Finalize, Running)];
        assert_eq!(differ(&said, &lives(), &refused), None);
        let mut other = lives();
        other[0].statuses.remove(2);
        assert!(differ(&said, &other, &refused).is_some_and(|why| why.contains("aborting")));
        assert!(differ(&said, &[], &refused).is_some_and(|why| why.contains("1 jobs")));
        assert!(
            differ(&said, &lives(), &[]).is_some_and(|why| why.contains("finalize in running"))
        );
        let more = [lives(), lives()].concat();
        assert!(differ(&said, &more, &refused).is_some_and(|why| why.contains("nothing of it")));
    }

    #[test]
    fn an_address_used_again_is_another_job() {
        let said = testimony(&format!("{LOG}{LOG}"));
        assert_eq!(said.lives.len(), 2);
        assert_eq!(said.lives[0], said.lives[1]);
    }
}
