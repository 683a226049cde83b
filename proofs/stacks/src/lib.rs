//! The stacks of loom's threads, kept from one execution to the next.
//!
//! loom gives each thread of each execution a stack of its own: three system calls, and a page fault for
//! each page that is touched. That was more than half of a proof's time. The calls are `mmap`, `mprotect`
//! and `munmap` of the C library, and a program that defines these names itself is asked in its place. So
//! whoever links this crate ([`link`]) keeps what was mapped as a stack and given back, with its guard page,
//! for the next one who asks for a stack of that size.
//!
//! What differs for those who call: nothing, but that a stack (`MAP_STACK`, which a kernel ignores) may hold
//! what its last owner left there. Every other call goes to the kernel as it is, and so does one that does
//! with a stack what is not expected; then that stack is not kept. The C library's own calls, which it
//! makes for its allocator and its threads, do not come here.
//!
//! The `unsafe` code is why it is a crate of its own: it is linked into the proofs under loom, and into
//! nothing else.

#![cfg(target_os = "linux")]
#![allow(unsafe_code)]

use std::ffi::{c_int, c_long, c_void};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// As many stacks are known, in use or kept; who needs more maps and unmaps as ever.
pub const KNOWN_MAX: usize = 32;

/// How often a stack was used again.
static REUSED: AtomicU64 = AtomicU64::new(0);

static STACKS: Mutex<Stacks> = Mutex::new(Stacks([None; KNOWN_MAX]));

/// A mapping that was asked for as a stack.
#[derive(Clone, Copy)]
struct Stack {
    /// Its lowest address.
    base: usize,
    bytes: usize,
    /// So much at its lower end is made inaccessible.
    guard: usize,
    /// Nobody has it: it was given back.
    free: bool,
}

impl Stack {
    fn meets(&self, base: usize, bytes: usize) -> bool {
        base < self.base + self.bytes && self.base < base.saturating_add(bytes)
    }
}

/// All that are known. Nothing here allocates: an allocator may be the one who calls.
struct Stacks([Option<Stack>; KNOWN_MAX]);

impl Stacks {
    /// One of this size that nobody has.
    fn take(&mut self, bytes: usize) -> Option<usize> {
        let mut known = self.0.iter_mut().flatten();
        let stack = known.find(|stack| stack.free && stack.bytes == bytes)?;
        stack.free = false;
        Some(stack.base)
    }

    /// A new one, if there is room to know it.
    fn add(&mut self, base: usize, bytes: usize) {
        if let Some(place) = self.0.iter_mut().find(|place| place.is_none()) {
            *place = Some(Stack {
                base,
                bytes,
                guard: 0,
                free: false,
            });
        }
    }

    /// Whether the stack with this base has this guard already. If it has none, it has it from now on.
    fn guarded(&mut self, base: usize, guard: usize) -> bool {
        let mut known = self.0.iter_mut().flatten();
        match known.find(|stack| !stack.free && stack.base == base) {
            Some(stack) if stack.guard == guard => true,
            Some(stack) if stack.guard == 0 && guard < stack.bytes => {
                stack.guard = guard;
                false
            }
            _ => {
                self.forget(base, guard);
                false
            }
        }
    }

    /// Whether it is kept: it is a known one, given back as a whole.
    fn give_back(&mut self, base: usize, bytes: usize) -> bool {
        let mut known = self.0.iter_mut().flatten();
        let given =
            known.find(|stack| (!stack.free, stack.base, stack.bytes) == (true, base, bytes));
        if let Some(stack) = given {
            stack.free = true;
            return true;
        }
        self.forget(base, bytes);
        false
    }

    /// Something else is done to these addresses.
    fn forget(&mut self, base: usize, bytes: usize) {
        for place in &mut self.0 {
            if place.is_some_and(|stack| stack.meets(base, bytes)) {
                *place = None;
            }
        }
    }
}

fn with<T>(ask: impl FnOnce(&mut Stacks) -> T) -> T {
    ask(&mut STACKS.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Makes sure that this crate is linked, and with it what it puts in the place of the C library's. How
/// often a stack was used again so far.
pub fn link() -> u64 {
    REUSED.load(Ordering::Relaxed)
}

/// `void *mmap(void addr[.length], size_t length, int prot, int flags, int fd, off_t offset)`
///
/// Maps memory, or hands out a stack that was given back. [mmap(2)]
///
/// # Safety
///
/// As the system call. A stack may hold what its last owner left there.
///
/// [mmap(2)]: https://man7.org/linux/man-pages/man2/mmap.2.html
// SAFETY: the name is the C library's, and so is what it does, to the letter of its manual but for the
// contents of stacks (see above).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mmap(
    address: *mut c_void,
    bytes: usize,
    protection: c_int,
    flags: c_int,
    file: c_int,
    offset: c_long,
) -> *mut c_void {
    let stack = address.is_null()
        && protection == libc::PROT_READ | libc::PROT_WRITE
        && flags == libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK;
    if stack && let Some(base) = with(|stacks| stacks.take(bytes)) {
        REUSED.fetch_add(1, Ordering::Relaxed);
        return ptr::with_exposed_provenance_mut(base);
    }
    // SAFETY: the caller's arguments, unchanged: what holds for the call holds for the system call.
    let mapped = unsafe {
        libc::syscall(
            libc::SYS_mmap,
            address,
            bytes,
            protection,
            flags,
            file,
            offset,
        )
    };
    let mapped = ptr::with_exposed_provenance_mut(mapped as usize);
    if mapped != libc::MAP_FAILED {
        with(|stacks| {
            stacks.forget(mapped.addr(), bytes);
            if stack {
                stacks.add(mapped.addr(), bytes);
            }
        });
    }
    mapped
}

/// `int mprotect(void addr[.len], size_t len, int prot)`
///
/// Changes what may be done with memory; nothing where a kept stack has this guard already. [mprotect(2)]
///
/// # Safety
///
/// As the system call.
///
/// [mprotect(2)]: https://man7.org/linux/man-pages/man2/mprotect.2.html
// SAFETY: as of `mmap`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mprotect(address: *mut c_void, bytes: usize, protection: c_int) -> c_int {
    let base = address.addr();
    if protection == libc::PROT_NONE {
        if with(|stacks| stacks.guarded(base, bytes)) {
            return 0;
        }
    } else {
        with(|stacks| stacks.forget(base, bytes));
    }
    // SAFETY: as above.
    let done = unsafe { libc::syscall(libc::SYS_mprotect, address, bytes, protection) };
    if done != 0 {
        with(|stacks| stacks.forget(base, bytes));
    }
    done as c_int
}

/// `int munmap(void addr[.length], size_t length)`
///
/// Unmaps memory, or keeps it if it is a stack. [munmap(2)]
///
/// # Safety
///
/// As the system call.
///
/// [munmap(2)]: https://man7.org/linux/man-pages/man2/munmap.2.html
// SAFETY: as of `mmap`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn munmap(address: *mut c_void, bytes: usize) -> c_int {
    if with(|stacks| stacks.give_back(address.addr(), bytes)) {
        return 0;
    }
    // SAFETY: as above.
    (unsafe { libc::syscall(libc::SYS_munmap, address, bytes) }) as c_int
}
