//! One record of a journal, as bytes and back. `docs/journal.md` has the format for others to read.

use super::checksum::crc32c;
use crate::io::stat::{Identity, Stat, Timestamp};
use std::ffi::OsString;
use std::ops::Range;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

/// How every journal begins; the number is the format's version.
pub(super) const PREAMBLE: &[u8; 24] = b"blockjob copy journal 1\n";
/// How journals of every version begin.
pub(super) const PREAMBLE_ANY: &[u8] = b"blockjob copy journal ";
/// How every record begins.
const MAGIC: [u8; 4] = *b"rec\n";
/// Magic, payload length, sequence number, durable length, journal's number.
const HEAD_BYTES: usize = 4 + 4 + 8 + 8 + 8;
const SUM_BYTES: usize = 4;
/// Records begin at multiples of this.
pub(super) const ALIGN: usize = 8;
/// Most bytes of one record's payload: a set of ranges is cut into several records before.
const PAYLOAD_BYTES_MAX: usize = 1 << 20;
/// Most ranges of one record.
pub(super) const RANGES_MAX: usize = 4096;

/// Which file: its number on its device, and when it was made, which tells it from a later one of that number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::copy) struct FileId {
    pub identity: Identity,
    pub born: Option<Timestamp>,
}

impl FileId {
    pub fn of(stat: &Stat) -> Self {
        Self {
            identity: stat.identity,
            born: stat.born,
        }
    }

    /// Whether `stat` is of this file. Devices are numbered anew by each run of the kernel, so that across two of them
    /// the number within the device and the time of birth have to do, and without that nothing does.
    pub fn is(&self, stat: &Stat, same_boot: bool) -> bool {
        let known = self.born.is_some() && stat.born.is_some();
        self.identity.inode == stat.identity.inode
            && (!known || self.born == stat.born)
            && (self.identity.device == stat.identity.device || !same_boot && known)
    }
}

/// What a source was when it was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::copy) struct SourceMark {
    pub path: PathBuf,
    pub id: FileId,
    pub size: u64,
    pub modified: Timestamp,
    pub changed: Timestamp,
}

/// One target that will take its name, and the files it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::copy) struct Member {
    pub source: SourceMark,
    /// Where the names are, as a path without links.
    pub folder: PathBuf,
    pub folder_id: FileId,
    /// The target's name, and the new file's until the commit.
    pub name: OsString,
    pub temporary: OsString,
    /// The new file.
    pub new: FileId,
    /// The file that has the target's name before the commit.
    pub old: Option<FileId>,
}

/// One thing a journal says. Members are named by their place in the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record {
    /// A list of members begins: of so many, in this run of the kernel, with data synced or not.
    Header {
        boot: Option<u128>,
        synced: bool,
        members: u32,
    },
    Member {
        index: u32,
        member: Box<Member>,
    },
    /// The list is whole, and what was said before it is void.
    Begun,
    /// Bytes were written, and may be in memory alone.
    Written {
        index: u32,
        ranges: Vec<Range<u64>>,
    },
    /// A sync of the new file begins. Until it has succeeded, it may have lost what was written.
    Syncing {
        index: u32,
    },
    /// The sync succeeded, and with it these bytes are on the disk.
    Synced {
        index: u32,
        ranges: Vec<Range<u64>>,
    },
    /// Every member is whole and on the disk: names may be exchanged from here on.
    Decided,
    /// Exchanged names are being put back.
    Undoing,
    /// All names are as they should be: those of the new files, or those of the old.
    Done {
        committed: bool,
    },
    /// This file only says where the journal is.
    Elsewhere {
        path: PathBuf,
    },
}

/// Where a record is in its journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The journal's number.
    pub journal: u64,
    /// How many records came before.
    pub sequence: u64,
    /// Bytes of the journal that were on the disk when the record was written.
    pub durable: u64,
}

impl Record {
    /// The record as bytes, a multiple of [`ALIGN`].
    pub fn encode(&self, place: Place) -> Vec<u8> {
        let mut payload = Writer(Vec::new());
        self.write(&mut payload);
        let payload = payload.0;
        debug_assert!(payload.len() <= PAYLOAD_BYTES_MAX);
        let mut bytes = Vec::with_capacity(HEAD_BYTES + payload.len() + ALIGN + SUM_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        for number in [place.sequence, place.durable, place.journal] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&payload);
        bytes.resize(record_bytes(payload.len()) - SUM_BYTES, 0);
        let sum = crc32c(&bytes);
        bytes.extend_from_slice(&sum.to_le_bytes());
        bytes
    }

    fn write(&self, to: &mut Writer) {
        match self {
            Self::Header {
                boot,
                synced,
                members,
            } => {
                to.u8(1);
                to.u8(u8::from(boot.is_some()));
                to.0.extend_from_slice(&boot.unwrap_or(0).to_le_bytes());
                to.u8(u8::from(*synced));
                to.u32(*members);
            }
            Self::Member { index, member } => {
                to.u8(2);
                to.u32(*index);
                to.path(&member.source.path);
                to.id(&member.source.id);
                to.u64(member.source.size);
                to.time(member.source.modified);
                to.time(member.source.changed);
                to.path(&member.folder);
                to.id(&member.folder_id);
                to.bytes(member.name.as_bytes());
                to.bytes(member.temporary.as_bytes());
                to.id(&member.new);
                to.u8(u8::from(member.old.is_some()));
                if let Some(old) = &member.old {
                    to.id(old);
                }
            }
            Self::Begun => to.u8(3),
            Self::Written { index, ranges } => {
                to.u8(4);
                to.ranges(*index, ranges);
            }
            Self::Syncing { index } => {
                to.u8(5);
                to.u32(*index);
            }
            Self::Synced { index, ranges } => {
                to.u8(6);
                to.ranges(*index, ranges);
            }
            Self::Decided => to.u8(7),
            Self::Undoing => to.u8(8),
            Self::Done { committed } => {
                to.u8(9);
                to.u8(u8::from(*committed));
            }
            Self::Elsewhere { path } => {
                to.u8(10);
                to.path(path);
            }
        }
    }

    fn read(from: &mut Reader<'_>) -> Option<Self> {
        let record = match from.u8()? {
            1 => {
                let known = from.flag()?;
                let boot = u128::from_le_bytes(from.take(16)?.try_into().ok()?);
                Self::Header {
                    boot: known.then_some(boot),
                    synced: from.flag()?,
                    members: from.u32()?,
                }
            }
            2 => Self::Member {
                index: from.u32()?,
                member: Box::new(Member {
                    source: SourceMark {
                        path: from.path()?,
                        id: from.id()?,
                        size: from.u64()?,
                        modified: from.time()?,
                        changed: from.time()?,
                    },
                    folder: from.path()?,
                    folder_id: from.id()?,
                    name: OsString::from_vec(from.bytes()?.to_vec()),
                    temporary: OsString::from_vec(from.bytes()?.to_vec()),
                    new: from.id()?,
                    old: if from.flag()? { Some(from.id()?) } else { None },
                }),
            },
            3 => Self::Begun,
            4 => Self::Written {
                index: from.u32()?,
                ranges: from.ranges()?,
            },
            5 => Self::Syncing { index: from.u32()? },
            6 => Self::Synced {
                index: from.u32()?,
                ranges: from.ranges()?,
            },
            7 => Self::Decided,
            8 => Self::Undoing,
            9 => Self::Done {
                committed: from.flag()?,
            },
            10 => Self::Elsewhere { path: from.path()? },
            _ => return None,
        };
        from.0.is_empty().then_some(record)
    }

    /// The record at the beginning of `bytes`, where it is, and its length; `None` when there is no whole one, or one
    /// whose checksum is wrong.
    pub fn decode(bytes: &[u8]) -> Option<(Self, Place, usize)> {
        let mut head = Reader(bytes);
        if head.take(MAGIC.len())? != MAGIC {
            return None;
        }
        let payload = head.u32()? as usize;
        if payload > PAYLOAD_BYTES_MAX {
            return None;
        }
        let place = Place {
            sequence: head.u64()?,
            durable: head.u64()?,
            journal: head.u64()?,
        };
        let length = record_bytes(payload);
        let (summed, sum) = bytes.get(..length)?.split_at(length - SUM_BYTES);
        if sum != crc32c(summed).to_le_bytes() {
            return None;
        }
        let record = Self::read(&mut Reader(&summed[HEAD_BYTES..HEAD_BYTES + payload]))?;
        Some((record, place, length))
    }
}

/// Bytes of a record with so many bytes of payload.
fn record_bytes(payload: usize) -> usize {
    (HEAD_BYTES + payload + SUM_BYTES).next_multiple_of(ALIGN)
}

struct Writer(Vec<u8>);

impl Writer {
    fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.u32(bytes.len() as u32);
        self.0.extend_from_slice(bytes);
    }

    fn path(&mut self, path: &Path) {
        self.bytes(path.as_os_str().as_bytes());
    }

    fn time(&mut self, time: Timestamp) {
        self.0.extend_from_slice(&time.seconds.to_le_bytes());
        self.u32(time.nanoseconds);
    }

    fn id(&mut self, id: &FileId) {
        self.u64(id.identity.device);
        self.u64(id.identity.inode);
        self.u8(u8::from(id.born.is_some()));
        self.time(id.born.unwrap_or(Timestamp {
            seconds: 0,
            nanoseconds: 0,
        }));
    }

    fn ranges(&mut self, index: u32, ranges: &[Range<u64>]) {
        self.u32(index);
        self.u32(ranges.len() as u32);
        for range in ranges {
            self.u64(range.start);
            self.u64(range.end);
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|byte| byte[0])
    }

    fn flag(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let count = self.u32()? as usize;
        self.take(count)
    }

    fn path(&mut self) -> Option<PathBuf> {
        Some(PathBuf::from(OsString::from_vec(self.bytes()?.to_vec())))
    }

    fn time(&mut self) -> Option<Timestamp> {
        Some(Timestamp {
            seconds: self.u64()?.cast_signed(),
            nanoseconds: self.u32()?,
        })
    }

    fn id(&mut self) -> Option<FileId> {
        let identity = Identity {
            device: self.u64()?,
            inode: self.u64()?,
        };
        let known = self.flag()?;
        let born = self.time()?;
        Some(FileId {
            identity,
            born: known.then_some(born),
        })
    }

    fn ranges(&mut self) -> Option<Vec<Range<u64>>> {
        let count = self.u32()? as usize;
        if count > RANGES_MAX {
            return None;
        }
        (0..count)
            .map(|_| {
                let range = self.u64()?..self.u64()?;
                (range.start < range.end).then_some(range)
            })
            .collect()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::copy::journal) fn member(number: u64) -> Member {
        let time = Timestamp {
            seconds: -5,
            nanoseconds: 6,
        };
        let id = |inode, born| FileId {
            identity: Identity { device: 7, inode },
            born,
        };
        Member {
            source: SourceMark {
                path: format!("/a/source{number}").into(),
                id: id(number, None),
                size: 9000,
                modified: time,
                changed: time,
            },
            folder: "/a".into(),
            folder_id: id(1, Some(time)),
            name: format!("target{number}").into(),
            temporary: format!(".target{number}.blockjob-0").into(),
            new: id(100 + number, Some(time)),
            old: number.is_multiple_of(2).then(|| id(200 + number, None)),
        }
    }

    pub(in crate::copy::journal) fn one_of_each() -> Vec<Record> {
        let ranges = vec![0..10, 20..u64::MAX];
        vec![
            Record::Header {
                boot: Some(u128::MAX / 3),
                synced: true,
                members: 2,
            },
            Record::Member {
                index: 0,
                member: Box::new(member(0)),
            },
            Record::Member {
                index: 1,
                member: Box::new(member(1)),
            },
            Record::Begun,
            Record::Written {
                index: 1,
                ranges: ranges.clone(),
            },
            Record::Syncing { index: 1 },
            Record::Synced { index: 1, ranges },
            Record::Decided,
            Record::Undoing,
            Record::Done { committed: true },
            Record::Elsewhere { path: "/b".into() },
        ]
    }

    #[test]
    fn every_record_comes_back_and_no_bit_of_it_can_change_unseen() {
        let place = Place {
            journal: 3,
            sequence: 4,
            durable: 5,
        };
        for record in one_of_each() {
            let bytes = record.encode(place);
            assert_eq!(bytes.len() % ALIGN, 0);
            assert_eq!(
                Record::decode(&bytes),
                Some((record.clone(), place, bytes.len()))
            );
            for bit in 0..bytes.len() * 8 {
                let mut wrong = bytes.clone();
                wrong[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Record::decode(&wrong), None, "{record:?} bit {bit}");
            }
            for length in 0..bytes.len() {
                assert_eq!(Record::decode(&bytes[..length]), None, "{record:?}");
            }
        }
    }

    #[test]
    fn a_file_is_told_by_its_birth_where_devices_may_have_new_numbers() {
        let time = |seconds| Timestamp {
            seconds,
            nanoseconds: 0,
        };
        let file = tempfile::tempfile().unwrap();
        let mut stat = crate::io::stat::stat(&file).unwrap();
        stat.born = Some(time(1));
        let id = FileId::of(&stat);
        assert!(id.is(&stat, true) && id.is(&stat, false));
        let mut later = stat;
        later.born = Some(time(2));
        assert!(!id.is(&later, true) && !id.is(&later, false));
        let mut elsewhere = stat;
        elsewhere.identity.device += 1;
        assert!(!id.is(&elsewhere, true) && id.is(&elsewhere, false));
        elsewhere.born = None;
        assert!(!id.is(&elsewhere, false), "nothing tells it any more");
    }
}
