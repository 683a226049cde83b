//! The images that jobs work on: raw ones, and the smallest qcow2 images that have something in them.
//!
//! A qcow2 image here is version 3 with clusters of 64 KiB: header, refcount table, refcount block, L1 table, L2
//! table, and, where it is filled, a data cluster for each guest cluster. The name of its backing file is not
//! written down; whoever opens it says which node backs it. Source: QEMU's `docs/interop/qcow2.txt`.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use serde_json::{Value, json};

/// The largest image, bytes: what one L2 table maps, which is far more than a test needs.
pub const SIZE_MAX: u64 = 64 << 20;
const CLUSTER: u64 = 1 << 16;

/// What is in an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Image {
    /// Raw, every sector written. Made once for a folder, so it is not to be written to.
    Data {
        /// Its length, bytes.
        size: u64,
    },
    /// Raw, a hole when it is new. What a program left in it, the next one finds.
    Blank {
        /// Its length, bytes.
        size: u64,
    },
    /// qcow2, anew for each program.
    Overlay {
        /// The length of what it shows, bytes.
        size: u64,
        /// It has all of it, else nothing.
        filled: bool,
    },
}

impl Image {
    /// Reads what a program says of an image.
    pub(super) fn read(value: &Value) -> Result<Image, String> {
        let size = value["size"]
            .as_u64()
            .filter(|size| *size <= SIZE_MAX && size % 512 == 0)
            .ok_or_else(|| format!("\"size\" is no multiple of 512 up to {SIZE_MAX}, in bytes"))?;
        match value["kind"].as_str() {
            Some("data") => Ok(Image::Data { size }),
            Some("blank") => Ok(Image::Blank { size }),
            Some("overlay") => Ok(Image::Overlay {
                size,
                filled: value["filled"] == true,
            }),
            _ => Err(format!(
                "\"kind\" is {}, not \"data\", \"blank\" or \"overlay\"",
                value["kind"]
            )),
        }
    }

    /// The same, as a program says it.
    pub(super) fn json(self) -> Value {
        match self {
            Image::Data { size } => json!({"kind": "data", "size": size}),
            Image::Blank { size } => json!({"kind": "blank", "size": size}),
            Image::Overlay { size, filled } => {
                json!({"kind": "overlay", "size": size, "filled": filled})
            }
        }
    }

    /// Makes it at `path`; one that is there and need not be new is kept.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn make(self, path: &Path) -> io::Result<()> {
        match self {
            Image::Data { size } => {
                if path.metadata().is_ok_and(|there| there.len() == size) {
                    return Ok(());
                }
                let mut file = File::create(path)?;
                let sector = [0x5a; 4096];
                let mut left = size;
                while left > 0 {
                    let part = left.min(sector.len() as u64);
                    file.write_all(&sector[..part as usize])?;
                    left -= part;
                }
                Ok(())
            }
            Image::Blank { size } => {
                if path.metadata().is_ok_and(|there| there.len() == size) {
                    return Ok(());
                }
                File::create(path)?.set_len(size)
            }
            Image::Overlay { size, filled } => overlay(path, size, filled),
        }
    }
}

/// Writes a qcow2 image; what is a hole in it reads as zero, as the format wants it.
fn overlay(path: &Path, size: u64, filled: bool) -> io::Result<()> {
    let clusters = size.div_ceil(CLUSTER);
    // Header, refcount table, refcount block, L1 table, L2 table.
    let used = 5 + if filled { clusters } else { 0 };
    let mut header = Vec::with_capacity(112);
    header.extend(b"QFI\xfb");
    header.extend(3_u32.to_be_bytes());
    // The backing file's name, its length.
    header.extend([0; 12]);
    header.extend(16_u32.to_be_bytes());
    header.extend(size.to_be_bytes());
    // Encryption.
    header.extend([0; 4]);
    // The L1 table: entries, offset.
    header.extend(1_u32.to_be_bytes());
    header.extend((3 * CLUSTER).to_be_bytes());
    // The refcount table: offset, clusters.
    header.extend(CLUSTER.to_be_bytes());
    header.extend(1_u32.to_be_bytes());
    // Snapshots: number, offset. Features: incompatible, compatible, autoclear.
    header.extend([0; 12 + 24]);
    // A refcount has two to the power of four bits.
    header.extend(4_u32.to_be_bytes());
    header.extend(104_u32.to_be_bytes());
    // The end of the header's extensions.
    header.extend([0; 8]);
    let copied = 1_u64 << 63;
    let file = File::create(path)?;
    file.write_all_at(&header, 0)?;
    file.write_all_at(&(2 * CLUSTER).to_be_bytes(), CLUSTER)?;
    let refcounts: Vec<u8> = (0..used).flat_map(|_| 1_u16.to_be_bytes()).collect();
    file.write_all_at(&refcounts, 2 * CLUSTER)?;
    file.write_all_at(&((4 * CLUSTER) | copied).to_be_bytes(), 3 * CLUSTER)?;
    if filled {
        let entries: Vec<u8> = (0..clusters)
            .flat_map(|cluster| (((5 + cluster) * CLUSTER) | copied).to_be_bytes())
            .collect();
        file.write_all_at(&entries, 4 * CLUSTER)?;
        // A sector of each, so that it is there; the rest is a hole.
        for cluster in 0..clusters {
            file.write_all_at(&[0xa5; 512], (5 + cluster) * CLUSTER)?;
        }
    }
    file.set_len(used * CLUSTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_reads_back_from_what_a_program_says() {
        for image in [
            Image::Data { size: 512 },
            Image::Blank { size: SIZE_MAX },
            Image::Overlay {
                size: 1 << 20,
                filled: true,
            },
        ] {
            assert_eq!(Image::read(&image.json()), Ok(image));
        }
        assert!(Image::read(&json!({"kind": "data", "size": 100})).is_err());
        assert!(Image::read(&json!({"kind": "data", "size": SIZE_MAX + 512})).is_err());
    }

    #[test]
    fn what_need_not_be_new_is_kept_and_what_must_be_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image");
        Image::Blank { size: 1024 }.make(&path).unwrap();
        std::fs::write(&path, [7; 1024]).unwrap();
        Image::Blank { size: 1024 }.make(&path).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), [7; 1024]);
        let overlay = Image::Overlay {
            size: 100 << 10,
            filled: true,
        };
        overlay.make(&path).unwrap();
        let image = std::fs::read(&path).unwrap();
        assert_eq!(image.len() as u64, 7 * CLUSTER);
        assert_eq!(&image[..4], b"QFI\xfb");
        assert_eq!(image[5 * CLUSTER as usize], 0xa5);
    }
}
