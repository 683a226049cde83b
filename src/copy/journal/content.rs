//! What a journal says, read from the front: the end may be torn, the middle may not.
//!
//! A power cut leaves the end of a file in any state, the pages of it in any order. So after the first record that
//! cannot be read nothing is believed; and whether that is the end is said by the records themselves, each of which
//! has how much of the journal was on the disk before it. One behind a gap that says the gap was there makes it damage.

use super::ranges::Ranges;
use super::record::{ALIGN, Member, PREAMBLE, PREAMBLE_ANY, Record};
use std::path::PathBuf;

/// How far a group has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::copy) enum Stage {
    /// No name was exchanged.
    Copying,
    /// Any name may be exchanged.
    Decided,
    /// Any name may be exchanged, and is to be put back.
    Undoing,
    /// All names are the new files', or the old ones'; files beside them may be left.
    Done { committed: bool },
}

/// What of one new file is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::copy) struct Progress {
    /// On the disk.
    pub synced: Ranges,
    /// Written since, for this run of the kernel to know.
    pub written: Ranges,
    /// A sync was begun, of whose end nothing is known.
    pub syncing: bool,
}

/// What a journal says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::copy) struct Content {
    /// The run of the kernel it was written in.
    pub boot: Option<u128>,
    /// Whether data was synced before the decision.
    pub synced: bool,
    pub members: Vec<Member>,
    /// For each member.
    pub progress: Vec<Progress>,
    pub stage: Stage,
    /// This is no journal, but says where it is.
    pub elsewhere: Option<PathBuf>,
    /// Bytes, records and number of what could be read.
    pub bytes: u64,
    pub records: u64,
    pub journal: u64,
}

/// Why a file cannot be read as a journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::copy) enum Unreadable {
    /// It is something else.
    NoJournal,
    /// It begins with zeros: a journal of which the disk has only the end, or nothing, if its name says that it is one.
    Blank,
    /// It was written by another version of this program.
    Version,
    /// Bytes in the middle of it are not what was written.
    Damaged {
        at: u64,
        /// What came before.
        before: Box<Content>,
    },
}

impl Content {
    /// That of a journal which says nothing.
    pub fn empty() -> Self {
        Self {
            boot: None,
            synced: false,
            members: Vec::new(),
            progress: Vec::new(),
            stage: Stage::Copying,
            elsewhere: None,
            bytes: 0,
            records: 0,
            journal: 0,
        }
    }

    /// Reads a whole journal.
    pub fn read(bytes: &[u8]) -> Result<Self, Unreadable> {
        let mut content = Self::empty();
        let mut coming = None;
        if !bytes.starts_with(PREAMBLE) {
            content.gap(bytes, 0)?;
            let head = &bytes[..bytes.len().min(PREAMBLE.len())];
            let zeros = head.iter().rev().take_while(|byte| **byte == 0).count();
            let begun = &head[..head.len() - zeros];
            return if bytes.is_empty() || !begun.is_empty() && PREAMBLE.starts_with(begun) {
                // Made, and not all of it came to the disk.
                Ok(content)
            } else if begun.is_empty() {
                Err(Unreadable::Blank)
            } else if bytes.starts_with(PREAMBLE_ANY) {
                Err(Unreadable::Version)
            } else {
                Err(Unreadable::NoJournal)
            };
        }
        content.bytes = PREAMBLE.len() as u64;
        while let Some((record, place, length)) = Record::decode(&bytes[content.bytes as usize..]) {
            let first = content.records == 0;
            if place.sequence != content.records || !first && place.journal != content.journal {
                break;
            }
            content.journal = place.journal;
            if !content.take(record, &mut coming) {
                return Err(Unreadable::Damaged {
                    at: content.bytes,
                    before: Box::new(content),
                });
            }
            content.bytes += length as u64;
            content.records += 1;
        }
        content.gap(bytes, content.bytes as usize)?;
        Ok(content)
    }

    /// Whether what follows from `from` on is only a torn end.
    fn gap(&self, bytes: &[u8], from: usize) -> Result<(), Unreadable> {
        for at in (from.next_multiple_of(ALIGN)..bytes.len()).step_by(ALIGN) {
            if let Some((_, place, _)) = Record::decode(&bytes[at..])
                && (self.records == 0 || place.journal == self.journal)
                && place.durable > from as u64
            {
                return Err(Unreadable::Damaged {
                    at: from as u64,
                    before: Box::new(self.clone()),
                });
            }
        }
        Ok(())
    }

    /// Adds what a record says. Whether it may stand here.
    fn take(&mut self, record: Record, coming: &mut Option<Coming>) -> bool {
        let fresh = Progress::default;
        match record {
            Record::Header {
                boot,
                synced,
                members,
            } => {
                *coming = Some(Coming {
                    boot,
                    synced,
                    count: members as usize,
                    members: Vec::new(),
                });
            }
            Record::Member { index, member } => match coming {
                Some(coming) if coming.members.len() == index as usize => {
                    coming.members.push(*member);
                }
                _ => return false,
            },
            Record::Begun => match coming.take() {
                Some(coming) if coming.members.len() == coming.count => {
                    self.boot = coming.boot;
                    self.synced = coming.synced;
                    self.progress = coming.members.iter().map(|_| fresh()).collect();
                    self.members = coming.members;
                    self.stage = Stage::Copying;
                }
                _ => return false,
            },
            Record::Elsewhere { path } => self.elsewhere = Some(path),
            Record::Written { index, ranges } => {
                let Some(progress) = self.progress.get_mut(index as usize) else {
                    return false;
                };
                for range in ranges {
                    progress.written.add(range);
                }
            }
            Record::Syncing { index } => {
                let Some(progress) = self.progress.get_mut(index as usize) else {
                    return false;
                };
                progress.syncing = true;
            }
            Record::Synced { index, ranges } => {
                let Some(progress) = self.progress.get_mut(index as usize) else {
                    return false;
                };
                for range in ranges {
                    progress.synced.add(range);
                }
                progress.syncing = false;
            }
            Record::Decided => self.stage = Stage::Decided,
            Record::Undoing => self.stage = Stage::Undoing,
            Record::Done { committed } => self.stage = Stage::Done { committed },
        }
        true
    }

    /// What of a member's new file can be relied on in this run of the kernel. A sync that was begun may have failed,
    /// and then the kernel has forgotten what it could not write: nothing unsynced counts after it.
    pub fn trusted(&self, index: usize, boot: Option<u128>) -> Ranges {
        let Some(progress) = self.progress.get(index) else {
            return Ranges::default();
        };
        let mut trusted = progress.synced.clone();
        if self.is_of_boot(boot) && !progress.syncing {
            trusted.add_all(&progress.written);
        }
        trusted
    }

    /// Whether it was written in this run of the kernel. Unknown is no.
    pub fn is_of_boot(&self, boot: Option<u128>) -> bool {
        boot.is_some() && self.boot == boot
    }
}

/// A list of members that is not whole yet.
struct Coming {
    boot: Option<u128>,
    synced: bool,
    count: usize,
    members: Vec<Member>,
}

#[cfg(test)]
mod tests {
    use super::super::record::Place;
    use super::super::record::tests::{member, one_of_each};
    use super::*;

    /// The records as a journal, each saying that all before it were synced; and where each begins.
    fn journal(records: &[Record], durable: bool) -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut starts) = (PREAMBLE.to_vec(), Vec::new());
        for (sequence, record) in records.iter().enumerate() {
            starts.push(bytes.len());
            bytes.extend(record.encode(Place {
                journal: 77,
                sequence: sequence as u64,
                durable: if durable { bytes.len() as u64 } else { 0 },
            }));
        }
        (bytes, starts)
    }

    #[test]
    fn all_that_was_said_is_read() {
        let records = one_of_each();
        let (bytes, _) = journal(&records, true);
        let content = Content::read(&bytes).unwrap();
        assert_eq!(content.members, [member(0), member(1)]);
        assert_eq!(content.stage, Stage::Done { committed: true });
        assert_eq!(content.elsewhere, Some("/b".into()));
        assert_eq!(content.records, records.len() as u64);
        assert_eq!(content.bytes, bytes.len() as u64);
        assert!(content.progress[0].synced.is_empty());
        assert_eq!(content.progress[1].synced.bytes(), u64::MAX - 10);
    }

    #[test]
    fn cut_anywhere_it_says_what_came_before() {
        let (bytes, starts) = journal(&one_of_each(), true);
        for length in 0..=bytes.len() {
            let content = Content::read(&bytes[..length]).unwrap();
            let ends = starts.iter().copied().skip(1).chain([bytes.len()]);
            let whole = ends.filter(|end| *end <= length).count();
            assert_eq!(content.records, whole as u64, "cut at {length}");
            let mut torn = bytes[..length].to_vec();
            torn.resize(bytes.len() + 4096, 0);
            match Content::read(&torn) {
                Ok(read) => assert_eq!(read.records, content.records, "zeros from {length} on"),
                other => assert_eq!((length, other), (0, Err(Unreadable::Blank))),
            }
        }
    }

    #[test]
    fn a_wrong_byte_in_what_was_synced_is_damage_and_in_the_rest_the_end() {
        for durable in [true, false] {
            let (bytes, starts) = journal(&one_of_each(), durable);
            let last = *starts.last().unwrap();
            for at in 0..bytes.len() {
                let mut wrong = bytes.clone();
                wrong[at] ^= 0x10;
                let broken = starts.iter().rposition(|start| *start <= at);
                match Content::read(&wrong) {
                    Err(Unreadable::Damaged { at: place, before }) => {
                        assert!(durable && at < last, "byte {at}");
                        assert_eq!(place, broken.map_or(0, |broken| starts[broken] as u64));
                        assert_eq!(before.records, broken.unwrap_or(0) as u64);
                    }
                    Ok(content) => {
                        assert!(!durable || at >= last, "byte {at} is wrong, and believed");
                        assert_eq!(content.records, broken.unwrap() as u64);
                    }
                    Err(_) => assert!(!durable && at < PREAMBLE.len()),
                }
            }
        }
    }

    #[test]
    fn other_files_and_other_versions_are_told() {
        assert_eq!(
            Content::read(b"blockjob copy journal 2\nwhatever"),
            Err(Unreadable::Version)
        );
        assert_eq!(Content::read(b"#!/bin/sh\n"), Err(Unreadable::NoJournal));
        assert_eq!(Content::read(b"").unwrap().records, 0);
        assert_eq!(Content::read(&[0; 4096]), Err(Unreadable::Blank));
    }

    #[test]
    fn a_list_that_begins_anew_counts_only_when_it_is_whole() {
        let head = |members| Record::Header {
            boot: None,
            synced: false,
            members,
        };
        let one = |number| Record::Member {
            index: 0,
            member: Box::new(member(number)),
        };
        let written = Record::Written {
            index: 0,
            ranges: vec![0..5, 7..8],
        };
        let mut records = vec![head(1), one(1), Record::Begun, written];
        let before = Content::read(&journal(&records, true).0).unwrap();
        records.extend([head(1), one(2)]);
        let content = Content::read(&journal(&records, true).0).unwrap();
        assert_eq!(
            (&content.members, &content.progress),
            (&before.members, &before.progress)
        );
        records.push(Record::Begun);
        let content = Content::read(&journal(&records, true).0).unwrap();
        assert_eq!(content.members, [member(2)]);
        assert!(content.progress[0].written.is_empty());
    }

    #[test]
    fn what_was_not_synced_counts_in_the_same_boot_alone_and_not_after_a_sync_without_end() {
        let written = |range| Record::Written {
            index: 0,
            ranges: Vec::from([range]),
        };
        let mut records = vec![
            Record::Header {
                boot: Some(5),
                synced: true,
                members: 1,
            },
            Record::Member {
                index: 0,
                member: Box::new(member(0)),
            },
            Record::Begun,
            written(0..10),
            Record::Syncing { index: 0 },
            Record::Synced {
                index: 0,
                ranges: vec![0..4, 4..10],
            },
            written(10..30),
        ];
        let trusted = |records: &[Record], boot| {
            let content = Content::read(&journal(records, true).0).unwrap();
            content.trusted(0, boot).bytes()
        };
        assert_eq!(trusted(&records, Some(5)), 30);
        assert_eq!(trusted(&records, Some(6)), 10);
        assert_eq!(trusted(&records, None), 10);
        records.push(Record::Syncing { index: 0 });
        assert_eq!(trusted(&records, Some(5)), 10);
    }
}
