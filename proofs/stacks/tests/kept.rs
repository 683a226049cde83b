//! Stacks are kept, and nothing else is done otherwise than by the kernel.
//!
//! Goal: what loom's threads run on is mapped once and used again, with its guard page; what is not such a
//! stack, or is treated otherwise than one, is the kernel's as ever. Method: the library that loom makes its
//! threads with is asked for some, one after the other; then the calls themselves are made, and
//! `/proc/self/maps` says what came of them. One test, because the counter and the addresses are the process's.

#![cfg(target_os = "linux")]
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::ptr;

use blockjob_stacks::link;
use generator::Gn;

const STACK: i32 = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK;

fn page() -> usize {
    // SAFETY: asks for a number.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).expect("a page has a size")
}

fn map(bytes: usize, flags: i32) -> *mut c_void {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    // SAFETY: a new mapping, wherever there is room.
    let mapped = unsafe { libc::mmap(ptr::null_mut(), bytes, access, flags, -1, 0) };
    assert_ne!(mapped, libc::MAP_FAILED);
    mapped
}

fn guard(base: *mut c_void, protection: i32) {
    // SAFETY: the first page of a mapping of this test's own, into which nothing points.
    assert_eq!(unsafe { libc::mprotect(base, page(), protection) }, 0);
}

fn unmap(base: *mut c_void, bytes: usize) {
    // SAFETY: a mapping of this test's own, into which nothing points.
    assert_eq!(unsafe { libc::munmap(base, bytes) }, 0);
}

/// How the kernel has this address mapped.
fn access(base: *mut c_void) -> Option<String> {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("Linux has it");
    maps.lines().find_map(|line| {
        let mut words = line.split(' ');
        let (from, to) = words.next()?.split_once('-')?;
        let hex = |text| usize::from_str_radix(text, 16).ok();
        (hex(from)? <= base.addr() && base.addr() < hex(to)?)
            .then(|| words.next().unwrap_or_default().to_owned())
    })
}

fn next_page(base: *mut c_void) -> *mut c_void {
    base.wrapping_byte_add(page())
}

#[test]
fn stacks_are_kept_and_nothing_else() {
    // As loom does it: a few threads at a time, all of them gone before the next execution.
    let executions = 5;
    for execution in 0..executions {
        let mut threads: Vec<_> = (0..3)
            .map(|_| {
                Gn::<()>::new_scoped(move |mut scope| {
                    scope.yield_(execution);
                    execution + 1
                })
            })
            .collect();
        for thread in &mut threads {
            assert_eq!(thread.resume(), Some(execution));
            assert_eq!(thread.resume(), Some(execution + 1));
        }
    }
    assert_eq!(
        link(),
        3 * (executions - 1),
        "all but the first three run on a stack that was there"
    );

    // No generator asks for this size.
    let bytes = 21 * page();
    let reused = link();
    let stack = map(bytes, STACK);
    guard(stack, libc::PROT_NONE);
    unmap(stack, bytes);
    assert_eq!(access(stack).as_deref(), Some("---p"), "it is kept");
    let other = map(bytes + page(), STACK);
    assert_ne!(other, stack, "another size is another stack");
    unmap(other, bytes + page());
    assert_eq!(map(bytes, STACK), stack);
    assert_eq!(link(), reused + 1);
    guard(stack, libc::PROT_NONE);
    assert_eq!(access(stack).as_deref(), Some("---p"), "so is its guard");
    assert_eq!(access(next_page(stack)).as_deref(), Some("rw-p"));

    let second = map(bytes, STACK);
    assert_ne!(second, stack, "the first one is in use");
    unmap(second, bytes);

    // Whoever opens the guard has something else in mind.
    guard(stack, libc::PROT_READ);
    assert_eq!(access(stack).as_deref(), Some("r--p"));
    unmap(stack, bytes);
    assert_eq!(access(next_page(stack)), None, "it is not kept");

    // So has whoever gives back a part of it.
    let stack = map(bytes, STACK);
    assert_eq!(stack, second, "this one was kept meanwhile");
    unmap(stack, page());
    assert_eq!(access(stack), None);
    unmap(next_page(stack), bytes - page());
    assert_eq!(access(next_page(stack)), None);

    // What is no stack is new, and zero, every time.
    let plain = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    let reused = link();
    let memory = map(bytes, plain);
    // SAFETY: the first byte of a mapping of this test's own.
    unsafe { memory.cast::<u8>().write(1) };
    unmap(memory, bytes);
    assert_eq!(access(memory), None);
    let memory = map(bytes, plain);
    // SAFETY: as above.
    assert_eq!(unsafe { memory.cast::<u8>().read() }, 0);
    unmap(memory, bytes);
    assert_eq!(link(), reused);

    // Errors are the kernel's.
    // SAFETY: no memory has this address.
    let failed = unsafe { libc::munmap(ptr::without_provenance_mut(1), page()) };
    assert_eq!(failed, -1);
    let reason = std::io::Error::last_os_error();
    assert_eq!(reason.raw_os_error(), Some(libc::EINVAL));
}
