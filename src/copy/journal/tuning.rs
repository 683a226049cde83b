//! When a journal is made, how much it lags behind the copy, and what stays open meanwhile: small copies pay nothing, large ones nothing that
//! shows.

use crate::io::process::boot_id;
use std::time::Duration;

/// The numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::copy) struct Tuning {
    /// A journal is made after so many bytes, or so long.
    pub begin_bytes: u64,
    pub begin_after: Duration,
    /// Bytes between two records of what was written, at least; a large file has them further apart.
    record_bytes: u64,
    /// What was written is synced after so many bytes, or so long.
    pub sync_bytes: u64,
    pub sync_after: Duration,
    /// Pairs of a group whose files are all held open; of a larger one none are, and its journal is made at once.
    pub open_max: usize,
    /// In tests, so that calls have an order.
    pub inline: bool,
    /// In tests, another run of the kernel.
    boot: Option<u128>,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            begin_bytes: 64 << 20,
            begin_after: Duration::from_secs(1),
            record_bytes: 8 << 20,
            sync_bytes: 4 << 30,
            sync_after: Duration::from_secs(10),
            open_max: 64,
            inline: false,
            boot: None,
        }
    }
}

impl Tuning {
    /// Records of one file, at most.
    const RECORDS_MAX: u64 = 16_384;

    /// From the first byte on, and so that some of what was written is synced and some is not yet.
    #[cfg(test)]
    pub fn eager() -> Self {
        Self {
            begin_bytes: 0,
            record_bytes: 1,
            sync_bytes: 10_000,
            inline: true,
            ..Self::default()
        }
    }

    /// As after so many power cuts.
    #[cfg(test)]
    pub fn in_boot(mut self, boot: u128) -> Self {
        self.boot = Some(boot);
        self
    }

    pub fn record_bytes(&self, size: u64) -> u64 {
        self.record_bytes.max(size / Self::RECORDS_MAX)
    }

    /// This run of the kernel.
    pub fn boot(&self) -> Option<u128> {
        self.boot.or_else(boot_id)
    }
}
