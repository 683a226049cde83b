//! A digest of what is copied, computed on the way by all workers, in whatever order they come.
//!
//! BLAKE3 is a tree: 1 KiB chunks at its leaves, and each node over twice as many as the nodes below it. A range that
//! begins at a multiple of its length, a power of two, is a node by itself; so each piece is cut into such ranges, and
//! neighbours are merged when both are there. What has to be kept is what waits for a neighbour: a few dozen nodes,
//! however large the file. The result is the one of `b3sum`.

use super::work::lock;
use blake3::hazmat::{
    ChainingValue, HasherExt as _, Mode, merge_subtrees_non_root, merge_subtrees_root,
};
use std::collections::BTreeMap;
use std::sync::Mutex;

const CHUNK: u64 = blake3::CHUNK_LEN as u64;

/// Part of a digest.
#[derive(Debug)]
struct Node {
    bytes: u64,
    value: ChainingValue,
}

/// The digest of a file of known size, from its pieces.
#[derive(Debug)]
pub(super) struct Digest {
    size: u64,
    /// By first byte: apart, and none next to one that it could be merged with.
    nodes: Mutex<BTreeMap<u64, Node>>,
    /// Of a file that is one chunk, or none.
    whole: Mutex<Option<blake3::Hash>>,
}

impl Digest {
    pub fn new(size: u64) -> Self {
        let whole = (size == 0).then(|| blake3::hash(&[]));
        Self {
            size,
            nodes: Mutex::default(),
            whole: Mutex::new(whole),
        }
    }

    /// The bytes at `at`, which is a multiple of 1 KiB; so is their number, unless the file ends with them. Each byte
    /// once. Any worker.
    pub fn add(&self, mut data: &[u8], mut at: u64) {
        if self.size <= CHUNK {
            *lock(&self.whole) = Some(blake3::hash(data));
            return;
        }
        while !data.is_empty() {
            let bytes = self.node_bytes(at, data.len() as u64);
            let (now, rest) = data.split_at(bytes as usize);
            let mut hasher = blake3::Hasher::new();
            hasher.set_input_offset(at).update(now);
            self.insert(at, bytes, hasher.finalize_non_root());
            (data, at) = (rest, at + bytes);
        }
    }

    /// As many zeros at `at`.
    pub fn add_zeros(&self, mut at: u64, mut bytes: u64) {
        while bytes > 0 {
            let now = bytes.min(ZEROS.len() as u64 - at % ZEROS.len() as u64);
            self.add(&ZEROS[..now as usize], at);
            (at, bytes) = (at + now, bytes - now);
        }
    }

    /// The length of the largest node that begins at `at` and has at most so many bytes; never the whole file.
    fn node_bytes(&self, at: u64, bytes_max: u64) -> u64 {
        let fits = 1 << bytes_max.max(1).ilog2();
        let aligned = if at == 0 {
            // The left half of the whole, at most.
            blake3::hazmat::left_subtree_len(self.size)
        } else {
            1 << at.trailing_zeros()
        };
        // The chunk that the file ends with may be shorter.
        fits.min(aligned).max(CHUNK).min(bytes_max)
    }

    fn insert(&self, mut at: u64, mut bytes: u64, mut value: ChainingValue) {
        let mut nodes = lock(&self.nodes);
        loop {
            // Its neighbour under the same parent: left if the parent begins before it.
            let parent = at & !bytes;
            let other = at ^ bytes;
            // What is no power of two ends the file, and the two halves of the whole wait for the end.
            let mergeable = bytes.is_power_of_two() && 2 * bytes < self.size;
            match nodes.get(&other) {
                Some(node) if mergeable && node.bytes == bytes => {
                    value = if other < at {
                        merge_subtrees_non_root(&node.value, &value, Mode::Hash)
                    } else {
                        merge_subtrees_non_root(&value, &node.value, Mode::Hash)
                    };
                    nodes.remove(&other);
                    (at, bytes) = (parent, 2 * bytes);
                }
                _ => break,
            }
        }
        nodes.insert(at, Node { bytes, value });
    }

    /// The digest, in hexadecimal, once every byte was added.
    pub fn finish(&self) -> Option<String> {
        if self.size <= CHUNK {
            return lock(&self.whole).map(|hash| hash.to_hex().to_string());
        }
        let nodes = lock(&self.nodes);
        // From the right: each is the left half of a node over itself and all behind it.
        let mut from = self.size;
        let mut right: Option<ChainingValue> = None;
        for (at, node) in nodes.iter().rev() {
            if at + node.bytes != from {
                return None;
            }
            from = *at;
            right = Some(match right {
                None => node.value,
                Some(right) if from == 0 => {
                    let hash = merge_subtrees_root(&node.value, &right, Mode::Hash);
                    return Some(hash.to_hex().to_string());
                }
                Some(right) => merge_subtrees_non_root(&node.value, &right, Mode::Hash),
            });
        }
        None
    }
}

static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

        /// In any order, cut anywhere at whole blocks, it is what BLAKE3 says of the whole.
        #[test]
        fn the_order_and_the_cuts_do_not_matter(
            size in prop_oneof![0_usize..5000, 0_usize..200_000, (0_usize..50).prop_map(|n| n * 4096), (0_u32..18).prop_map(|n| 1 << n)],
            cuts in prop::collection::btree_set(1_usize..50, 0..20),
            order in any::<u64>(),
            zeros in any::<bool>(),
        ) {
            let data: Vec<u8> = (0..size).map(|at| if zeros { 0 } else { (at * 7 + at / 251) as u8 }).collect();
            let mut borders: Vec<_> = cuts.into_iter().map(|cut| cut * 4096).filter(|cut| *cut < size).collect();
            borders.insert(0, 0);
            borders.push(size);
            let mut pieces: Vec<_> = borders.windows(2).map(|pair| pair[0]..pair[1]).filter(|piece| !piece.is_empty()).collect();
            let mut state = order | 1;
            for index in (1..pieces.len()).rev() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                pieces.swap(index, (state >> 33) as usize % (index + 1));
            }
            let digest = Digest::new(size as u64);
            for piece in pieces {
                prop_assert!(size == 0 || digest.finish().is_none(), "not before all are there");
                if zeros {
                    digest.add_zeros(piece.start as u64, piece.len() as u64);
                } else {
                    digest.add(&data[piece.clone()], piece.start as u64);
                }
            }
            let wanted = blake3::hash(&data).to_hex().to_string();
            prop_assert_eq!(digest.finish(), Some(wanted));
        }
    }

    #[test]
    fn what_waits_for_a_neighbour_is_little() {
        let digest = Digest::new(64 << 20);
        for at in (0..64_u64 << 20).step_by(64 << 10) {
            digest.add_zeros(at, 64 << 10);
        }
        assert!(lock(&digest.nodes).len() <= 16);
    }
}
