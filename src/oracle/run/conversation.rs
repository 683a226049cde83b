//! QMP conversations, recorded, bare, or in libvirt's log, judged line by line.

use std::io::BufRead;

use super::Run;
use crate::oracle::judge::libvirt;
use crate::oracle::judge::monitors::Monitors;
use crate::oracle::judge::trial::Trial;
use crate::oracle::reader::libvirt::{self as libvirt_log, Reader, Said};
use crate::oracle::reader::lines::{Line, Lines};
use crate::oracle::reader::qmp;
use crate::oracle::reader::raw::{self, Found, Object, Objects};
use crate::oracle::watch::Read;
use crate::oracle::{Options, TraceError};

impl Run<'_> {
    pub(super) fn judge_qmp<R: BufRead>(
        &mut self,
        first: &Line<'_>,
        lines: &mut Lines<R>,
        options: &Options,
    ) -> Result<(), TraceError> {
        let mut trial = Trial::new(options.profile, options.observer);
        trial.extent(options.extent);
        if options.keep_going {
            trial.keep_going();
        }
        let mut read = 1;
        let result = (|| {
            let mut open = self.take_qmp(&mut trial, first)?;
            while open {
                if let Some(mut block) = lines.next_lines()? {
                    while open && let Some(line) = block.next() {
                        read = line.number;
                        open = self.take_qmp(&mut trial, &line)?;
                    }
                    continue;
                }
                let Some(line) = lines.next_line()? else {
                    break;
                };
                read = line.number;
                open = self.take_qmp(&mut trial, &line)?;
            }
            Ok(())
        })();
        self.sentence(trial.end(), read, result)
    }

    /// Takes a line; `false` once nothing more can be judged.
    fn take_qmp(&mut self, trial: &mut Trial, line: &Line<'_>) -> Result<bool, TraceError> {
        let mut record = qmp::Record::default();
        if qmp::read(line, &mut record)? {
            if let Some(watch) = &mut self.watch {
                watch.before(&Read::Message("", &record), trial);
            }
            let taken = trial.take(&record);
            if let Some(watch) = &mut self.watch {
                watch.conversation("", line, &record, taken, trial);
            }
            return Ok(taken);
        }
        self.cut(line);
        Ok(false)
    }

    pub(super) fn judge_raw<R: BufRead>(
        &mut self,
        mut objects: Objects<R>,
        options: &Options,
    ) -> Result<(), TraceError> {
        let mut monitors = Monitors::new(options.profile, options.observer, false)
            .keep_going(options.keep_going)
            .extent(options.extent);
        let mut only_events = false;
        let result = (|| {
            while let Some(Object {
                line,
                monitor,
                filtered,
                behind_text,
            }) = objects.next_object()?
            {
                if filtered || behind_text {
                    monitors.filter();
                }
                let mended = filtered && line.text.contains(char::REPLACEMENT_CHARACTER);
                match raw::read(&line)? {
                    Found::Message(record) if mended || only_events => {
                        let event = record.message.event.is_present();
                        if mended && !event && !only_events {
                            // What it said is not known, nor what later answers belong to.
                            monitors.close_all();
                            only_events = true;
                        }
                        if event && !mended && !monitors.take(monitor, &record) {
                            break;
                        }
                    }
                    Found::Message(record) => {
                        if let Some(watch) = &mut self.watch {
                            watch.before(&Read::Message(monitor, &record), &monitors);
                        }
                        let taken = monitors.take(monitor, &record);
                        if let Some(watch) = &mut self.watch {
                            watch.conversation(monitor, &line, &record, taken, &monitors);
                        }
                        if !taken {
                            break;
                        }
                    }
                    Found::Other => {
                        let number = line.number;
                        objects.pass(number);
                    }
                    Found::Cut => {
                        self.cut(&line);
                        break;
                    }
                }
            }
            Ok(())
        })();
        let passed = objects.passed();
        if passed.lines > 0 {
            self.notes.push(format!(
                "{} {} of text with no QMP object, the first of them line {}, passed over",
                passed.lines,
                if passed.lines == 1 { "line" } else { "lines" },
                passed.first
            ));
        }
        let (mended, first) = objects.mended();
        if mended > 0 {
            self.notes.push(format!(
                "{mended} {} not UTF-8, the first of them line {first}: only the rest is judged",
                if mended == 1 { "line is" } else { "lines are" },
            ));
        }
        if monitors.count() > 1 {
            self.notes.push(format!(
                "{} monitors, each judged by itself",
                monitors.count()
            ));
        }
        self.sentence(monitors.end(), objects.line(), result)
    }

    pub(super) fn judge_libvirt<R: BufRead>(
        &mut self,
        first: &Line<'_>,
        lines: &mut Lines<R>,
        options: &Options,
    ) -> Result<(), TraceError> {
        let mut judge = libvirt::Judge::new(options.profile, options.observer, options.keep_going)
            .extent(options.extent);
        let mut reader = Reader::default();
        let mut read = first.number;
        let watch = &mut self.watch;
        let mut take = |entry: &libvirt_log::Entry<'_>| {
            if let Some(watch) = watch {
                watch.before(&Read::Libvirt(entry), judge.monitors());
            }
            let again = judge.was_handed_over(entry);
            let open = judge.take(entry);
            if let Some(watch) = watch
                && !again
            {
                watch.libvirt(entry, open, judge.monitors());
            }
            open
        };
        let mut open = reader.read(first).is_none_or(|entry| take(&entry));
        let result = loop {
            if !open {
                break Ok(());
            }
            match lines.next_of_log() {
                Ok(Some(line)) => {
                    read = line.number;
                    // The last message may be cut: then nothing follows of which it would be missing.
                    open = reader
                        .read(&line)
                        .filter(|entry| line.whole || entry.said != Said::Lost)
                        .is_none_or(|entry| take(&entry));
                }
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        let (gaps, first_gap) = judge.gaps();
        if gaps > 0 {
            self.notes.push(format!(
                "{gaps} gaps in the log, the first of them before line {first_gap}; behind each, what is known of \
                 the jobs begins anew"
            ));
        }
        if judge.count() > 1 {
            self.notes.push(format!(
                "{} connections, each judged by itself",
                judge.count()
            ));
        }
        self.sentence(judge.end(), read, result)
    }
}
