//! What this process is and may do: user, file-creation mask, file-size limit, an end to those it started.

use super::{check, retry};
use std::io;
use std::mem::MaybeUninit;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ExitStatus};
use std::time::Duration;

/// `geteuid()`.
///
/// The user whose rights this process has.
///
/// # References
/// [geteuid(2)](https://man7.org/linux/man-pages/man2/geteuid.2.html)
pub fn effective_user() -> u32 {
    // SAFETY: takes nothing, cannot fail.
    unsafe { libc::geteuid() }
}

/// Whether this process is the superuser. Capabilities may allow less or more; what this decides is only what is
/// refused early, the kernel has the last word.
pub fn is_privileged() -> bool {
    effective_user() == 0
}

/// The file-creation mask: the permission bits new files do not get.
///
/// Read from `/proc/self/status`, because `umask(2)` can only be read by changing it for every thread; where that
/// file cannot be read, the customary `0o022`.
///
/// # References
/// [umask(2)](https://man7.org/linux/man-pages/man2/umask.2.html),
/// [proc_pid_status(5)](https://man7.org/linux/man-pages/man5/proc_pid_status.5.html)
pub fn creation_mask() -> u32 {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("Umask:"))?;
            u32::from_str_radix(line.trim(), 8).ok()
        })
        .unwrap_or(0o022)
        & 0o777
}

/// `/proc/sys/kernel/random/boot_id`.
///
/// What tells this run of the kernel from every other; `None` where it does not say.
///
/// # References
/// [proc_sys_kernel(5)](https://man7.org/linux/man-pages/man5/proc_sys_kernel.5.html)
pub fn boot_id() -> Option<u128> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    u128::from_str_radix(&digits, 16).ok()
}

/// `getrlimit(RLIMIT_FSIZE, …)`.
///
/// The largest file this process may write, in bytes; `None` without a limit. Writing beyond it is `EFBIG`, and the
/// signal `SIGXFSZ` unless that is ignored ([`signals::ignore_file_size`](super::signals::ignore_file_size)).
///
/// # References
/// [getrlimit(2)](https://man7.org/linux/man-pages/man2/getrlimit.2.html)
pub fn file_size_limit() -> io::Result<Option<u64>> {
    let mut answer = MaybeUninit::<libc::rlimit64>::zeroed();
    // SAFETY: `answer` is writable and of the right size.
    check(unsafe { libc::getrlimit64(libc::RLIMIT_FSIZE, answer.as_mut_ptr()) })?;
    // SAFETY: all-zero bytes are a valid `rlimit64` (integers only), and the call has filled it.
    let answer = unsafe { answer.assume_init() };
    Ok((answer.rlim_cur != libc::RLIM64_INFINITY).then_some(answer.rlim_cur))
}

/// `getrlimit(RLIMIT_NOFILE, …)` and `setrlimit(RLIMIT_NOFILE, …)`.
///
/// Raises the number of files this process may have open to the most it may give itself. The lower number is there
/// for programs that use `select(2)`, which cannot name higher descriptors.
///
/// # References
/// [getrlimit(2)](https://man7.org/linux/man-pages/man2/getrlimit.2.html),
/// [select(2)](https://man7.org/linux/man-pages/man2/select.2.html)
pub fn raise_open_files() -> io::Result<()> {
    let mut limit = MaybeUninit::<libc::rlimit64>::zeroed();
    // SAFETY: `limit` is writable and of the right size.
    check(unsafe { libc::getrlimit64(libc::RLIMIT_NOFILE, limit.as_mut_ptr()) })?;
    // SAFETY: all-zero bytes are a valid `rlimit64` (integers only), and the call has filled it.
    let mut limit = unsafe { limit.assume_init() };
    if limit.rlim_cur < limit.rlim_max {
        limit.rlim_cur = limit.rlim_max;
        // SAFETY: `limit` is a live, filled `rlimit64` that the kernel only reads.
        check(unsafe { libc::setrlimit64(libc::RLIMIT_NOFILE, &raw const limit) })?;
    }
    Ok(())
}

/// `MemAvailable` of `/proc/meminfo`.
///
/// Bytes of memory that could be had without swapping, most of them from the page cache; `None` where the kernel does
/// not say.
///
/// # References
/// [proc_meminfo(5)](https://man7.org/linux/man-pages/man5/proc_meminfo.5.html)
pub fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// What a process that ended has used, with those of its children that it waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// On a processor, in its own code and in the kernel's.
    pub processor_time: Duration,
    /// Most memory that was in use at a time, by the largest of them, in bytes.
    pub memory_bytes_max: u64,
}

/// `wait4(pid, …)`.
///
/// Waits for a child to end, and says what it has used.
///
/// # References
/// [wait4(2)](https://man7.org/linux/man-pages/man2/wait4.2.html),
/// [getrusage(2)](https://man7.org/linux/man-pages/man2/getrusage.2.html)
// By value: the number is another process's once this one was waited for.
#[allow(clippy::needless_pass_by_value)]
pub fn wait_with_usage(child: Child) -> io::Result<(ExitStatus, Usage)> {
    let pid =
        libc::pid_t::try_from(child.id()).map_err(|_| io::Error::from_raw_os_error(libc::ESRCH))?;
    let mut status = 0;
    let mut answer = MaybeUninit::<libc::rusage>::zeroed();
    retry(|| {
        // SAFETY: both answers are writable and of the right size; nobody else has waited for the child, which is
        // owned, so that the number is its own.
        check(unsafe { libc::wait4(pid, &raw mut status, 0, answer.as_mut_ptr()) })
    })?;
    // SAFETY: all-zero bytes are a valid `rusage` (integers only), and the call has filled it.
    let answer = unsafe { answer.assume_init() };
    let time = |time: libc::timeval| {
        let micros = time.tv_sec.saturating_mul(1_000_000) + time.tv_usec;
        Duration::from_micros(micros.unsigned_abs())
    };
    let usage = Usage {
        processor_time: time(answer.ru_utime) + time(answer.ru_stime),
        memory_bytes_max: answer.ru_maxrss.unsigned_abs().saturating_mul(1024),
    };
    Ok((ExitStatus::from_raw(status), usage))
}

/// `kill(-group, SIGKILL)`.
///
/// Ends every process of the process group `group`. The caller has started its leader and not waited for it yet, so
/// the number is nobody else's.
///
/// # Errors
/// `ESRCH`: none is left; `EINVAL`: a number that names no single group (0, 1, or none of a process).
///
/// # References
/// [kill(2)](https://man7.org/linux/man-pages/man2/kill.2.html)
pub fn kill_group(group: u32) -> io::Result<()> {
    let group = i32::try_from(group)
        .ok()
        .filter(|group| *group > 1)
        .ok_or_else(|| io::Error::from_raw_os_error(libc::EINVAL))?;
    // SAFETY: no memory is passed.
    check(unsafe { libc::kill(-group, libc::SIGKILL) })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_ends_as_a_whole_and_no_number_stands_for_all() {
        use std::io::Read as _;
        use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
        let mut shell = std::process::Command::new("/bin/sh")
            .args(["-c", "sleep 1000 & echo; wait"])
            .process_group(0)
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = shell.stdout.take().unwrap();
        out.read_exact(&mut [0]).unwrap();
        kill_group(shell.id()).unwrap();
        assert_eq!(shell.wait().unwrap().signal(), Some(libc::SIGKILL));
        // The other has the pipe too: it ends when both are gone.
        assert_eq!(out.read(&mut [0]).unwrap(), 0);
        for group in [0, 1, u32::MAX] {
            assert_eq!(
                kill_group(group).unwrap_err().raw_os_error(),
                Some(libc::EINVAL)
            );
        }
    }

    #[test]
    fn what_a_child_has_used_is_told_when_it_has_ended() {
        let shell = std::process::Command::new("/bin/sh")
            .args([
                "-c",
                "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; exit 3",
            ])
            .spawn()
            .unwrap();
        let (status, usage) = wait_with_usage(shell).unwrap();
        assert_eq!(status.code(), Some(3));
        assert!(!usage.processor_time.is_zero() && usage.memory_bytes_max > 100_000);
    }

    #[test]
    fn this_run_of_the_kernel_has_a_name_that_stays() {
        assert_eq!(boot_id(), boot_id());
        assert_ne!(boot_id(), Some(0));
    }

    #[test]
    fn the_creation_mask_is_what_new_files_lose() {
        use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o777)
            .open(&path)
            .unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode() & 0o777;
        assert_eq!(creation_mask(), 0o777 & !mode);
    }

    #[test]
    fn the_memory_that_is_free_is_some() {
        assert!(available_memory().unwrap() > 1 << 20);
    }
}
