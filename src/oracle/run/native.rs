//! The engine's own trace, judged line by line.

use std::io::BufRead;

use blockjob_model::Profile;
use blockjob_model::profile::REFERENCE;

use super::{FURTHER_MAX, Run};
use crate::oracle::judge::native::{Judge, Stop};
use crate::oracle::reader::lines::{Line, Lines};
use crate::oracle::reader::native;
use crate::oracle::watch::Read;
use crate::oracle::{Options, TraceError};

impl Run<'_> {
    pub(super) fn judge_native<R: BufRead>(
        &mut self,
        first: &Line<'_>,
        lines: &mut Lines<R>,
        options: &Options,
    ) -> Result<(), TraceError> {
        let mut judge = Judge::new(options.profile.unwrap_or(&REFERENCE), options.observer);
        let mut jobs = 0;
        let mut records = 0;
        let mut witnessed = 0;
        let mut widened = 0;
        let mut read = 1;
        let mut take = |run: &mut Run<'_>, line: &Line<'_>| -> Result<bool, TraceError> {
            read = line.number;
            let Some(record) = native::read(line)? else {
                run.cut(line);
                return Ok(false);
            };
            if record.version.is_present() {
                // A header; further ones begin further runs.
                let profile = header_profile(line.number, &record, options)?;
                jobs += judge.jobs();
                records += judge.records();
                witnessed += judge.witnessed();
                widened += judge.widened();
                judge = Judge::new(profile, options.observer);
                if let Some(watch) = &mut run.watch {
                    watch.native(line, &record, true, &judge);
                }
                return Ok(true);
            }
            if let Some(watch) = &mut run.watch {
                watch.before(&Read::Native(line.number, &record), &judge);
            }
            let judged = judge.take(line.number, &record);
            if let Some(watch) = &mut run.watch {
                watch.native(line, &record, judged.is_ok(), &judge);
            }
            match judged {
                Ok(()) => Ok(true),
                Err(Stop::Fault(fault)) => {
                    match &run.fault {
                        None => run.fault = Some(fault),
                        Some(_) => run.further.push(fault),
                    }
                    Ok(options.keep_going && run.further.len() < FURTHER_MAX)
                }
                Err(Stop::Error(error)) => Err(error),
            }
        };
        let result = (|| {
            let mut open = take(self, first)?;
            while open {
                let Some(line) = lines.next_line()? else {
                    break;
                };
                open = take(self, &line)?;
            }
            Ok(())
        })();
        self.events = records + judge.records();
        self.jobs = jobs + judge.jobs();
        self.profile = Some(judge.profile().name);
        self.widened = widened + judge.widened();
        result?;
        if witnessed + judge.witnessed() == 0 && self.fault.is_none() {
            return Err(TraceError::NothingToJudge { lines: read });
        }
        if self.fault.is_none() {
            self.fits = vec![judge.profile().name];
        }
        Ok(())
    }
}

/// The profile a native trace is judged by: the one given, else the one its header names.
fn header_profile(
    line: u64,
    record: &native::Record<'_>,
    options: &Options,
) -> Result<&'static Profile, TraceError> {
    let claimed = native::read_header(line, record)?;
    if let Some(given) = options.profile {
        return Ok(given);
    }
    let Some(claimed) = claimed else {
        return Ok(&REFERENCE);
    };
    claimed
        .as_str()
        .and_then(|name| Profile::by_name(&name))
        .ok_or_else(|| {
            let names: Vec<&str> = Profile::ALL.iter().map(|profile| profile.name).collect();
            native::shape(
                line,
                &format!(
                    "the header names the profile {}, which is none of {}; choose one with --profile",
                    claimed.text(),
                    names.join(", ")
                ),
            )
        })
}
