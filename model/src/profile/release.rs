//! Which release of QEMU is judged by which profile, and where it differs from that profile.
//!
//! A profile describes several releases; the choice is what is nearest in behaviour (SEMANTICS.md
//! §11). What is told here of a difference was read in the sources or dated from the mailing list,
//! as SEMANTICS says of each.

use super::{
    Profile, QEMU_2_11, QEMU_2_12, QEMU_4_2, QEMU_6_0, QEMU_6_2, QEMU_7_2, QEMU_8_2, QEMU_10_0,
};

/// One release of QEMU.
#[derive(Clone, Copy, Debug)]
pub struct Release {
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// What judges it.
    pub profile: &'static Profile,
    /// Where it differs from that profile; empty: nowhere that is known.
    pub differs: &'static str,
}

const fn release(
    major: u32,
    minor: u32,
    profile: &'static Profile,
    differs: &'static str,
) -> Release {
    Release {
        major,
        minor,
        profile,
        differs,
    }
}

/// Every release from 2.10 to 10.0, oldest first.
#[rustfmt::skip]
pub const RELEASES: &[Release] = &[
    release(2, 10, &QEMU_2_11, ""),
    release(2, 11, &QEMU_2_11, ""),
    release(2, 12, &QEMU_2_12, ""),
    release(3, 0, &QEMU_4_2, "one job a node; finalize and dismiss for backup jobs only; a `drain` callback, and no `drained_poll`; a run ends by deferring to the main loop"),
    release(3, 1, &QEMU_4_2, "one job a node; a `drain` callback"),
    release(4, 0, &QEMU_4_2, "one job a node; a `drain` callback"),
    release(4, 1, &QEMU_4_2, "a `drain` callback"),
    release(4, 2, &QEMU_4_2, ""),
    release(5, 0, &QEMU_4_2, "the newer text for a negative speed"),
    release(5, 1, &QEMU_4_2, "the newer text for a negative speed"),
    release(5, 2, &QEMU_4_2, "the newer text for a negative speed"),
    release(6, 0, &QEMU_6_0, ""),
    release(6, 1, &QEMU_6_0, ""),
    release(6, 2, &QEMU_6_2, ""),
    release(7, 0, &QEMU_6_2, ""),
    release(7, 1, &QEMU_6_2, ""),
    release(7, 2, &QEMU_7_2, ""),
    release(8, 0, &QEMU_7_2, ""),
    release(8, 1, &QEMU_8_2, "no verb `change`"),
    release(8, 2, &QEMU_8_2, ""),
    release(9, 0, &QEMU_10_0, ""),
    release(9, 1, &QEMU_10_0, ""),
    release(9, 2, &QEMU_10_0, ""),
    release(10, 0, &QEMU_10_0, ""),
];

impl Release {
    /// The newest release that is known.
    pub const NEWEST: Release = RELEASES[RELEASES.len() - 1];

    /// The newest release not newer than `major.minor`, or the oldest there is.
    pub fn at_most(major: u32, minor: u32) -> &'static Release {
        RELEASES
            .iter()
            .rev()
            .find(|release| (release.major, release.minor) <= (major, minor))
            .unwrap_or(&RELEASES[0])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_release_from_2_10_to_10_0_is_there_once_and_in_order() {
        let ends = [
            (2, 10..13),
            (3, 0..2),
            (4, 0..3),
            (5, 0..3),
            (6, 0..3),
            (7, 0..3),
            (8, 0..3),
            (9, 0..3),
            (10, 0..1),
        ];
        let expected: Vec<(u32, u32)> = ends
            .into_iter()
            .flat_map(|(major, minors)| minors.map(move |minor| (major, minor)))
            .collect();
        let there: Vec<(u32, u32)> = RELEASES
            .iter()
            .map(|release| (release.major, release.minor))
            .collect();
        assert_eq!(there, expected);
    }

    #[test]
    fn each_profile_begins_with_the_release_it_says_and_each_is_somebodys() {
        for profile in Profile::ALL {
            let Some(since) = profile.since else { continue };
            let first = RELEASES
                .iter()
                .find(|release| release.profile.name == profile.name)
                .expect("it judges a release");
            assert_eq!((first.major, first.minor), since, "{}", profile.name);
        }
    }

    #[test]
    fn a_profile_carries_the_name_of_a_release_it_describes_exactly() {
        for profile in Profile::ALL.into_iter().skip(1) {
            let named = RELEASES
                .iter()
                .find(|release| profile.name == format!("qemu-{}.{}", release.major, release.minor))
                .expect("a release of that name");
            assert_eq!(named.profile.name, profile.name);
            assert_eq!(named.differs, "", "{}", profile.name);
        }
    }

    #[test]
    fn what_is_newer_or_older_than_every_release_takes_the_nearest() {
        assert_eq!(Profile::for_qemu(7, 2).name, "qemu-7.2");
        assert_eq!(Profile::for_qemu(8, 1).name, "qemu-8.2");
        assert_eq!(Profile::for_qemu(10, 0).name, "qemu-10.0");
        assert_eq!(Profile::for_qemu(11, 3).name, "qemu-10.0");
        assert_eq!(Profile::for_qemu(1, 7).name, "qemu-2.11");
        // Between two majors there is nothing; the last minor goes on.
        assert_eq!(Profile::for_qemu(4, 9).name, "qemu-4.2");
    }
}
