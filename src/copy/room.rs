//! Room for what is about to be written, set aside for whole runs of data.
//!
//! Where a file system reckons room block by block while data is only in memory (ext4), that takes as long as copying
//! the bytes, twice over where runs are long. Set aside at once it takes next to nothing, and the sync has less to do. In
//! runs below [`RUN_BYTES_MIN`] the call costs more than it saves; on other file systems it was not measured, or is known to
//! cost (btrfs, tmpfs). Never where zeros are to become holes, and never for a hole: what is set aside is stored.
//!
//! Only advice: where there is no room, or none can be set aside, the writes say so, or find some.

use super::piece::{Piece, PieceKind};
use super::work::lock;
use crate::io::extent::{Extent, ExtentKind, allocate, reckons_by_block};
use std::fs::File;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, OnceLock};

/// Shorter runs are left to the file system.
const RUN_BYTES_MIN: u64 = 64 << 10;
/// Most bytes that are set aside at once: well below a millisecond, which a pause may wait.
const WINDOW_BYTES: u64 = 256 << 20;

/// What of a new file has room set aside.
#[derive(Debug)]
pub(super) struct Room {
    /// It may be stored as a whole, and nothing has said that room cannot be set aside.
    wanted: AtomicBool,
    /// Whether the file system is one where it helps, once somebody needs to know.
    helps: OnceLock<bool>,
    /// The last window.
    last: Mutex<Range<u64>>,
}

impl Room {
    /// `wanted`: for a new file that may be stored as a whole, but for its holes.
    pub fn new(wanted: bool) -> Self {
        Self {
            wanted: AtomicBool::new(wanted),
            helps: OnceLock::new(),
            last: Mutex::new(0..0),
        }
    }

    /// A piece of this run is about to be written. Any worker, with its piece's permit.
    pub fn set_aside(&self, file: &File, piece: Piece, run: Option<Extent>) {
        let Some(run) = run.filter(|_| self.wanted.load(Ordering::Relaxed)) else {
            return;
        };
        let long = run.kind == ExtentKind::Data && run.len() >= RUN_BYTES_MIN;
        if !long || piece.kind != PieceKind::Data {
            return;
        }
        let helps = || reckons_by_block(file).unwrap_or(false);
        if !self.helps.get_or_init(helps) {
            self.wanted.store(false, Ordering::Relaxed);
            return;
        }
        let mut last = lock(&self.last);
        if last.contains(&piece.at) {
            return;
        }
        // The whole window, whichever of its pieces comes first.
        let window = piece.at / WINDOW_BYTES * WINDOW_BYTES;
        let start = window.max(run.start);
        let end = window.saturating_add(WINDOW_BYTES).min(run.end);
        if start >= end || !matches!(allocate(file, start, end - start), Ok(true)) {
            self.wanted.store(false, Ordering::Relaxed);
            return;
        }
        *last = start..end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::extent::ftruncate;
    use crate::io::stat::stat;

    #[test]
    fn room_is_for_the_window_of_a_long_run_and_for_nothing_else() {
        let size = 3 * WINDOW_BYTES;
        let file = || {
            let file = tempfile::tempfile().unwrap();
            ftruncate(&file, size).unwrap();
            file
        };
        if !reckons_by_block(file()).unwrap() {
            eprintln!("SKIP: room is set aside on ext4 alone");
            return;
        }
        let piece = |kind, at| Piece {
            kind,
            at,
            bytes: 4096,
        };
        let run = |kind, start, end| Some(Extent { kind, start, end });
        let data = (PieceKind::Data, ExtentKind::Data);
        let hole = (PieceKind::Hole, ExtentKind::Hole);
        let (long, mib) = (RUN_BYTES_MIN, 1 << 20);
        // Wanted or not, what, where, the run it is of, and what is stored then.
        let cases = [
            (true, data, 0, (0, long), long),
            (true, data, 8192, (4096, 4096 + long), long),
            (true, data, 0, (0, long - 1), 0),
            (false, data, 0, (0, long), 0),
            (true, hole, 0, (0, size), 0),
            (
                true,
                data,
                WINDOW_BYTES + mib,
                (WINDOW_BYTES - mib, WINDOW_BYTES + 2 * mib),
                2 * mib,
            ),
        ];
        for (wanted, (kind, extent), at, (start, end), stored) in cases {
            let file = file();
            let room = Room::new(wanted);
            for _ in 0..2 {
                room.set_aside(&file, piece(kind, at), run(extent, start, end));
            }
            let found = stat(&file).unwrap();
            assert_eq!(
                (found.stored, found.size),
                (stored, size),
                "{at} {start}..{end}"
            );
        }
    }
}
