//! What several subcommands read from their arguments: sizes, profiles.

use std::time::Duration;

use blockjob::model::Profile;

/// A size in bytes: digits, then at most one of K M G T (powers of 1024).
pub fn size(text: &str) -> Result<u64, String> {
    let how =
        "a size is a whole number of bytes, or of K, M, G or T (powers of 1024), such as 256K";
    if text.starts_with('-') {
        return Err(format!("a size cannot be negative; {how}"));
    }
    let (digits, shift) = match text.char_indices().next_back() {
        Some((at, unit)) if !unit.is_ascii_digit() => {
            let shift = match unit.to_ascii_uppercase() {
                'K' => 10,
                'M' => 20,
                'G' => 30,
                'T' => 40,
                _ => return Err(how.to_owned()),
            };
            (&text[..at], shift)
        }
        _ => (text, 0),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(how.to_owned());
    }
    digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(1 << shift))
        .ok_or_else(|| format!("too large: sizes end at {} bytes", u64::MAX))
}

/// A size that is not zero.
pub fn size_above_zero(text: &str) -> Result<u64, String> {
    match size(text)? {
        0 => Err("it must be at least one byte".to_owned()),
        size => Ok(size),
    }
}

/// A number of seconds, whole or not.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "it is no number of seconds")?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// A profile by its name.
pub fn profile(name: &str) -> Result<&'static Profile, String> {
    Profile::by_name(name).ok_or_else(|| {
        let names: Vec<&str> = Profile::ALL.iter().map(|profile| profile.name).collect();
        format!("no such profile; there are {}", names.join(", "))
    })
}

/// A number of bytes for people: three figures, and the unit.
pub fn human_size(bytes: u64) -> String {
    let units = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} bytes"),
        _ if value < 10.0 => format!("{value:.2} {}", units[unit]),
        _ if value < 100.0 => format!("{value:.1} {}", units[unit]),
        _ => format!("{value:.0} {}", units[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(size("0"), Ok(0));
        assert_eq!(size("513"), Ok(513));
        assert_eq!(size("4k"), Ok(4096));
        assert_eq!(size("1M"), Ok(1 << 20));
        assert_eq!(size("2G"), Ok(2 << 30));
        assert_eq!(size("3T"), Ok(3 << 40));
        assert_eq!(size("18446744073709551615"), Ok(u64::MAX));
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in [
            "", "K", "1.5M", "+1", "1KB", "0x10", "1 K", "ten", "1µ", "١",
        ] {
            assert!(size(text).is_err(), "{text}");
        }
        assert!(size("-1").unwrap_err().contains("negative"));
        assert!(size("16777216T").unwrap_err().contains("too large"));
        assert!(
            size("18446744073709551616")
                .unwrap_err()
                .contains("too large")
        );
        assert!(size_above_zero("0").is_err());
    }

    #[test]
    fn sizes_read_well() {
        assert_eq!(human_size(999), "999 bytes");
        assert_eq!(human_size(1000), "0.98 KiB");
        assert_eq!(human_size(1 << 20), "1.00 MiB");
        assert_eq!(human_size(300 << 20), "300 MiB");
        assert_eq!(human_size(u64::MAX), "16.0 EiB");
    }
}
