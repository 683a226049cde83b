//! How much is copied at a time: as much as is done within about a millisecond.
//!
//! A pause waits for the piece under way. On a fast device and an idle machine the largest piece takes a fraction of
//! a millisecond, and smaller ones would only cost calls; on a slow or busy one it takes many, so pieces become smaller there.

use std::time::Duration;

/// What is copied at a time at most, in bytes. Larger is no faster (the buffer leaves the cache).
pub const PIECE_BYTES_MAX: usize = 512 << 10;
/// The same at least. Smaller is slower: calls cost as much as what they copy.
const PIECE_BYTES_MIN: u64 = 64 << 10;
/// A piece that took longer was too large.
const LONG: Duration = Duration::from_millis(1);
/// One that took less could have been larger.
const SHORT: Duration = Duration::from_micros(300);

/// How large pieces are now.
#[derive(Debug)]
pub struct Pace {
    bytes: u64,
}

impl Default for Pace {
    /// Nothing is known yet: they are small.
    fn default() -> Pace {
        Pace {
            bytes: PIECE_BYTES_MIN,
        }
    }
}

impl Pace {
    /// How much to copy next under this speed limit, in bytes.
    pub fn bytes(&self, speed_bytes_per_s: u64) -> u64 {
        match speed_bytes_per_s {
            0 => self.bytes,
            // An eighth of a second's worth, to the sector, as devices want it.
            speed => (speed / 8 / 512 * 512).clamp(PIECE_BYTES_MIN, PIECE_BYTES_MAX as u64),
        }
    }

    /// So many bytes took so long.
    pub fn took(&mut self, bytes: u64, time: Duration) {
        if time > LONG {
            self.bytes = (self.bytes / 2).max(PIECE_BYTES_MIN);
        } else if time < SHORT && bytes >= self.bytes {
            self.bytes = (self.bytes * 2).min(PIECE_BYTES_MAX as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_grow_while_they_are_quick_and_shrink_when_they_are_not() {
        let mut pace = Pace::default();
        let mut sizes = vec![pace.bytes(0)];
        for micros in [100, 100, 100, 100, 500, 1500, 1500, 1500, 9000, 100] {
            pace.took(pace.bytes(0), Duration::from_micros(micros));
            sizes.push(pace.bytes(0));
        }
        let kib = [64, 128, 256, 512, 512, 512, 256, 128, 64, 64, 128];
        assert_eq!(sizes, kib.map(|kib| kib << 10));
        // The last piece of an image is quick because it is small.
        pace.took(512, Duration::from_micros(5));
        assert_eq!(pace.bytes(0), 128 << 10);
    }

    #[test]
    fn under_a_limit_a_piece_is_an_eighth_of_a_second() {
        let mut pace = Pace::default();
        for _ in 0..9 {
            pace.took(1 << 20, Duration::ZERO);
        }
        let sizes = [1, 1 << 20, 4 << 20, 1 << 30].map(|speed| pace.bytes(speed) >> 10);
        assert_eq!(sizes, [64, 128, 512, 512]);
        assert_eq!(pace.bytes(1_000_000) % 512, 0);
    }
}
