//! QEMU's trace log, judged line by line.

use std::io::BufRead;

use super::{FURTHER_MAX, Run};
use crate::oracle::judge::log;
use crate::oracle::reader::lines::{Line, Lines};
use crate::oracle::reader::qemu_log;
use crate::oracle::watch::Read;
use crate::oracle::{Options, TraceError};

impl Run<'_> {
    pub(super) fn judge_log<R: BufRead>(
        &mut self,
        first: &Line<'_>,
        lines: &mut Lines<R>,
        options: &Options,
    ) -> Result<(), TraceError> {
        let Some(mut judge) = log::Judge::new(options.profile) else {
            return Err(TraceError::NoSuchLog);
        };
        let mut read = first.number;
        let watch = &mut self.watch;
        let mut take = |line: &Line<'_>| match qemu_log::read(line) {
            // Cut there.
            Some(entry) if line.whole || entry.is_whole() => {
                if let Some(watch) = watch {
                    watch.before(&Read::Log(&entry), &judge);
                }
                let judged = judge.take(&entry);
                if let Some(watch) = watch {
                    watch.log(line, &entry, judged.is_ok(), &judge);
                }
                judged
            }
            _ => Ok(()),
        };
        let mut judged = take(first);
        let result = loop {
            if let Err(fault) = judged {
                match &self.fault {
                    None => self.fault = Some(fault),
                    Some(_) => self.further.push(fault),
                }
                if !options.keep_going || self.further.len() == FURTHER_MAX {
                    break Ok(());
                }
            }
            match lines.next_of_log() {
                Ok(Some(line)) => {
                    read = line.number;
                    judged = take(&line);
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        self.events = judge.events();
        self.jobs = judge.jobs();
        self.profile = Some(judge.profile().name);
        if judge.damaged() > 0 {
            self.notes.push(format!(
                "{} damaged lines; behind each, what is known of the jobs begins anew",
                judge.damaged()
            ));
        }
        let (gaps, first) = judge.gaps();
        if gaps > 0 {
            self.notes.push(format!(
                "{gaps} gaps in the log, the first of them before line {first}: the events were switched off in \
                 between; behind each, what is known of the jobs begins anew"
            ));
        }
        result?;
        if self.events == 0 && self.fault.is_none() {
            return Err(TraceError::NothingToJudge { lines: read });
        }
        if self.fault.is_none() {
            self.fits = judge.fits().iter().map(|profile| profile.name).collect();
        }
        Ok(())
    }
}
