//! Goal: what a copy makes is the source, to the last byte and hole, whatever its size and layout.
//! Method: real files of every awkward shape are copied and compared; layouts at random by proptest. After each copy
//! the folder is listed: nothing but source and target may be there.
#![allow(clippy::unwrap_used)]

mod copy_common;

use blockjob::copy::{CHUNK_BYTES, CopyOptions, Durability, Ending, Method, Sparse};
use blockjob::io::extent::{Extent, extents};
use copy_common::*;
use proptest::prelude::*;
use std::fs::File;
use std::os::unix::fs::{FileExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;

const MIB: u64 = 1 << 20;

fn layout(path: &Path) -> Vec<Extent> {
    let file = File::open(path).unwrap();
    let size = file.metadata().unwrap().len();
    extents(&file, size).map(Result::unwrap).collect()
}

#[test]
fn every_awkward_length_arrives_whole() {
    let chunk = CHUNK_BYTES;
    for bytes in [
        0,
        1,
        511,
        4095,
        4096,
        4097,
        chunk - 1,
        chunk,
        chunk + 1,
        3 * chunk + 12345,
    ] {
        let scratch = Scratch::new();
        let (source, target) = (scratch.dense("source", bytes), scratch.path("target"));
        let summary = copy(&source, &target, &CopyOptions::default()).summary();
        assert_eq!(scratch.names(), ["source", "target"], "{bytes}");
        assert_same(&source, &target);
        assert_eq!(
            (summary.size_bytes, summary.copied_bytes),
            (bytes as u64, bytes as u64)
        );
        assert_eq!(
            (summary.method, summary.ending),
            (Method::Create, Ending::Committed)
        );
    }
}

#[test]
fn one_worker_and_many_and_small_pieces_make_the_same_file() {
    let scratch = Scratch::new();
    let source = scratch.dense("source", 5 << 20);
    for (workers, chunk) in [(1, 4096), (2, 4096), (7, 64 << 10), (64, 512 << 10)] {
        let target = scratch.path("target");
        let options = CopyOptions::new()
            .workers(workers)
            .chunk_bytes(chunk)
            .durability(Durability::None);
        copy(&source, &target, &options);
        assert_same(&source, &target);
    }
    assert_eq!(scratch.names(), ["source", "target"]);
}

#[test]
fn holes_stay_holes_by_default() {
    let scratch = Scratch::new();
    let source = scratch.sparse(
        "source",
        64 * MIB + 77,
        &[(0, 100), (10 * MIB, 65536), (40 * MIB + 4096, 4096)],
    );
    let target = scratch.path("target");
    let summary = copy(&source, &target, &CopyOptions::default()).summary();
    assert_same(&source, &target);
    if !has_holes(scratch.0.path()) {
        return skip(
            "extents of a sparse copy",
            "this file system does not tell holes",
        );
    }
    assert!(stored(&target) < MIB, "{} bytes stored", stored(&target));
    assert_eq!(layout(&source), layout(&target));
    assert!(
        summary.hole_bytes > 60 * MIB && summary.copied_bytes < MIB,
        "{summary:?}"
    );
    assert_eq!(
        summary.hole_bytes + summary.copied_bytes,
        summary.size_bytes
    );
}

#[test]
fn always_drops_blocks_of_zeros_and_never_stores_everything() {
    let scratch = Scratch::new();
    let zeros = scratch.path("zeros");
    let mut bytes = vec![0; 4 * MIB as usize + 5];
    bytes[MIB as usize..MIB as usize + 4096].fill(7);
    std::fs::write(&zeros, &bytes).unwrap();
    let always = copy(
        &zeros,
        &scratch.path("always"),
        &CopyOptions::new().sparse(Sparse::Always),
    )
    .summary();
    assert_same(&zeros, &scratch.path("always"));
    assert_eq!(
        (always.copied_bytes, always.zero_bytes),
        (4096, 4 * MIB + 5 - 4096)
    );

    let holes = scratch.sparse("holes", 4 * MIB, &[(2 * MIB, 4096)]);
    let never = copy(
        &holes,
        &scratch.path("never"),
        &CopyOptions::new().sparse(Sparse::Never),
    )
    .summary();
    assert_same(&holes, &scratch.path("never"));
    assert_eq!((never.copied_bytes, never.hole_bytes), (4 * MIB, 0));
    if has_holes(scratch.0.path()) {
        assert!(stored(&scratch.path("always")) <= 64 << 10);
        assert!(stored(&scratch.path("never")) >= 4 * MIB);
    }
}

#[test]
fn a_file_of_many_gigabytes_takes_only_its_data() {
    let scratch = Scratch::new();
    if !has_holes(scratch.0.path()) {
        return skip(
            "a sparse file of many gigabytes",
            "this file system does not tell holes",
        );
    }
    let gib = 1 << 30;
    let source = scratch.sparse(
        "source",
        40 * gib + 1,
        &[(0, 4096), (5 * gib - 100, 200), (40 * gib, 1)],
    );
    let target = scratch.path("target");
    let summary = copy(&source, &target, &CopyOptions::default()).summary();
    assert_same(&source, &target);
    assert_eq!(layout(&source), layout(&target));
    assert_eq!(summary.size_bytes, 40 * gib + 1);
    assert!(stored(&target) < MIB);
}

#[test]
fn a_replaced_target_keeps_its_mode_owner_and_attributes_and_changes_its_contents() {
    let scratch = Scratch::new();
    let (source, target) = (
        scratch.dense("source", 300_000),
        scratch.text("target", "old"),
    );
    std::fs::set_permissions(&source, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::set_permissions(&target, std::fs::Permissions::from_mode(0o647)).unwrap();
    let note = blockjob::io::attribute::Attribute {
        name: c"user.note".into(),
        value: b"mine".to_vec(),
    };
    let noted = blockjob::io::attribute::set_attribute(File::open(&target).unwrap(), &note).is_ok();
    let owner = if is_root() {
        (12345, 54321)
    } else {
        (std::fs::metadata(&target).unwrap().uid(), 0)
    };
    if is_root() {
        std::os::unix::fs::chown(&target, Some(owner.0), Some(owner.1)).unwrap();
    }
    let before = std::fs::metadata(&target).unwrap();
    assert_eq!(
        copy(&source, &target, &CopyOptions::default())
            .summary()
            .method,
        Method::Replace
    );
    assert_same(&source, &target);
    let after = std::fs::metadata(&target).unwrap();
    assert_ne!(before.ino(), after.ino(), "it is a new file");
    assert_eq!(
        (before.mode(), before.uid(), before.gid()),
        (after.mode(), after.uid(), after.gid())
    );
    let attributes = blockjob::io::attribute::attributes(File::open(&target).unwrap()).unwrap();
    assert_eq!(attributes.contains(&note), noted);
    assert_eq!(scratch.names(), ["source", "target"]);
}

#[test]
fn a_new_target_has_the_sources_mode_less_the_creation_mask() {
    let scratch = Scratch::new();
    let source = scratch.text("source", "x");
    std::fs::set_permissions(&source, std::fs::Permissions::from_mode(0o4775)).unwrap();
    copy(&source, &scratch.path("target"), &CopyOptions::default());
    let mode = std::fs::metadata(scratch.path("target")).unwrap().mode() & 0o7777;
    assert_eq!(mode, 0o775 & !blockjob::io::process::creation_mask());
}

#[test]
fn a_good_symbolic_link_is_followed_once_and_stays() {
    let scratch = Scratch::new();
    let (source, real) = (scratch.text("source", "new"), scratch.text("real", "old"));
    let link = scratch.path("link");
    std::os::unix::fs::symlink("real", &link).unwrap();
    copy(&source, &link, &CopyOptions::default());
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(std::fs::read_to_string(real).unwrap(), "new");
    assert_eq!(scratch.names(), ["link", "real", "source"]);
}

#[test]
fn in_place_writes_the_very_file_and_zeroes_what_the_source_does_not_store() {
    let scratch = Scratch::new();
    let source = scratch.sparse("source", 2 * MIB, &[(0, 4096), (MIB + 5, 1000)]);
    let target = scratch.dense("target", 2 * MIB as usize + 100);
    let old_tail = std::fs::read(&target).unwrap()[2 * MIB as usize..].to_vec();
    std::fs::hard_link(&target, scratch.path("other-name")).unwrap();
    let before = std::fs::metadata(&target).unwrap();
    for sparse in [Sparse::Auto, Sparse::Always, Sparse::Never] {
        let summary = copy(
            &source,
            &target,
            &CopyOptions::new().in_place(true).sparse(sparse),
        )
        .summary();
        assert_eq!(
            (summary.method, summary.ending),
            (Method::InPlace, Ending::Committed)
        );
        let now = std::fs::read(scratch.path("other-name")).unwrap();
        assert!(
            now[..2 * MIB as usize] == std::fs::read(&source).unwrap(),
            "{sparse:?}"
        );
        assert_eq!(
            now[2 * MIB as usize..],
            old_tail,
            "what lies beyond the source stays"
        );
        File::options()
            .write(true)
            .open(&target)
            .unwrap()
            .write_all_at(&pattern(4096, 3), 100_000)
            .unwrap();
    }
    assert_eq!(std::fs::metadata(&target).unwrap().ino(), before.ino());
    assert_eq!(scratch.names(), ["other-name", "source", "target"]);
}

/// An access or default ACL as the kernel has it: the owner may do all, this user, the group and the mask so much, others
/// nothing.
fn acl(name: &std::ffi::CStr, user: u32, may: u16) -> blockjob::io::attribute::Attribute {
    let nobody = u32::MAX;
    let entries = [
        (0x01, 7, nobody),
        (0x02, may, user),
        (0x04, may, nobody),
        (0x10, may, nobody),
        (0x20, 0, nobody),
    ];
    let mut value = 2_u32.to_le_bytes().to_vec();
    for (tag, may, id) in entries {
        value.extend(u16::to_le_bytes(tag));
        value.extend(u16::to_le_bytes(may));
        value.extend(u32::to_le_bytes(id));
    }
    let name = name.to_owned();
    blockjob::io::attribute::Attribute { name, value }
}

#[test]
fn an_acl_is_kept_and_none_is_taken_from_the_folder() {
    use blockjob::io::attribute::{attributes, set_attribute};
    let scratch = Scratch::new();
    let folder = scratch.path("folder");
    std::fs::create_dir(&folder).unwrap();
    let source = scratch.dense("source", 100_000);
    let (plain, shared) = (folder.join("plain"), folder.join("shared"));
    for target in [&plain, &shared] {
        std::fs::write(target, "old").unwrap();
        std::fs::set_permissions(target, std::fs::Permissions::from_mode(0o640)).unwrap();
    }
    let own = acl(c"system.posix_acl_access", 12_345, 6);
    if let Err(why) = set_attribute(File::open(&shared).unwrap(), &own) {
        return skip("access control lists", &why.to_string());
    }
    // What is made in the folder from now on gets one by itself.
    let default = acl(c"system.posix_acl_default", 54_321, 7);
    set_attribute(File::open(&folder).unwrap(), &default).unwrap();
    let all = |path: &Path| {
        let mode = std::fs::metadata(path).unwrap().mode();
        (mode, attributes(File::open(path).unwrap()).unwrap())
    };
    let before = [all(&plain), all(&shared)];
    assert!(before[0].1.is_empty() && before[1].1.contains(&own));
    for target in [&plain, &shared] {
        copy(&source, target, &CopyOptions::default());
        assert_same(&source, target);
    }
    assert_eq!([all(&plain), all(&shared)], before);
    assert_eq!(contents(&folder).len(), 2);
}

/// A loop device over a file, detached at the end; `None` where that is not permitted.
struct LoopDevice(String);

impl LoopDevice {
    fn over(image: &Path) -> Option<Self> {
        let answer = std::process::Command::new("losetup")
            .args(["-f", "--show"])
            .arg(image)
            .output()
            .ok()?;
        answer
            .status
            .success()
            .then(|| Self(String::from_utf8(answer.stdout).unwrap().trim().to_owned()))
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let _ = std::process::Command::new("losetup")
            .args(["-d", &self.0])
            .status();
    }
}

#[test]
fn a_block_device_is_read_whole_and_written_in_place() {
    let scratch = Scratch::new();
    let source = scratch.sparse("source", 3 * MIB + 512, &[(0, 70_000), (2 * MIB + 1, 100)]);
    let image = scratch.dense("image", 4 * MIB as usize);
    let Some(device) = LoopDevice::over(&image) else {
        return skip("block devices at both ends", "no loop device (needs root)");
    };
    let device_path = Path::new(&device.0);
    let summary = copy(&source, device_path, &CopyOptions::default()).summary();
    assert_eq!(summary.method, Method::InPlace);
    let back = scratch.path("back");
    assert_eq!(
        copy(device_path, &back, &CopyOptions::default())
            .summary()
            .size_bytes,
        4 * MIB
    );
    let (source, back) = (
        std::fs::read(&source).unwrap(),
        std::fs::read(&back).unwrap(),
    );
    assert!(
        back[..source.len()] == source,
        "the device holds the source"
    );
    assert!(
        back[source.len()..] == pattern(4 * MIB as usize, 4 * MIB)[source.len()..],
        "and its old end"
    );

    let large = scratch.sparse("large", 5 * MIB, &[]);
    let refusal = check(&[pair(large, device_path)], &CopyOptions::default()).unwrap_err();
    assert!(refusal.to_string().contains("too small"), "{refusal}");
    let same = check(&[pair(device_path, device_path)], &CopyOptions::default()).unwrap_err();
    assert!(same.to_string().contains("same file"), "{same}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any layout of data, holes and zeros, with any options, arrives identical and with nothing beside it.
    #[test]
    fn random_layouts_copy_identically(
        runs in prop::collection::vec((0_u8..3, 1_u64..200_000), 0..12),
        workers in 1_usize..5,
        chunk in prop::sample::select(vec![4096_usize, 16 << 10, 64 << 10, 512 << 10]),
        sparse in prop::sample::select(vec![Sparse::Auto, Sparse::Always, Sparse::Never]),
        replace in any::<bool>(),
        in_place in any::<bool>(),
    ) {
        let scratch = Scratch::new();
        let source = scratch.path("source");
        let file = File::create(&source).unwrap();
        let mut at = 0;
        for (kind, bytes) in runs {
            match kind {
                0 => file.write_all_at(&pattern(bytes as usize, at), at).unwrap(),
                1 => file.write_all_at(&vec![0; bytes as usize], at).unwrap(),
                _ => {}
            }
            at += bytes;
        }
        file.set_len(at).unwrap();
        let target = scratch.path("target");
        if replace || in_place {
            std::fs::write(&target, pattern(at as usize, 99)).unwrap();
        }
        let options = CopyOptions::new()
            .workers(workers).chunk_bytes(chunk).sparse(sparse).in_place(in_place).durability(Durability::None);
        let summary = copy(&source, &target, &options).summary();
        prop_assert!(std::fs::read(&source).unwrap() == std::fs::read(&target).unwrap());
        prop_assert_eq!(summary.copied_bytes + summary.hole_bytes + summary.zero_bytes, at);
        prop_assert_eq!(scratch.names(), ["source", "target"]);
    }
}
