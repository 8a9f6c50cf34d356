//! Counts what an audio thread must not do: calls of the heap and locks of mutexes, in this program and all its libraries,
//! the plugin among them. Definitions in the executable take precedence over those of glibc, and forward to it.

#![allow(clippy::declare_interior_mutable_const)] // what thread_local! of Rust 1.63 expands to

use std::cell::Cell;
use std::ffi::c_void;
use std::os::raw::{c_char, c_int};
use std::sync::atomic::{AtomicPtr, Ordering};

thread_local! {
    // Plain data, so that access allocates nothing.
    static ARMED: Cell<bool> = const { Cell::new(false) };
    static CALLS: Cell<usize> = const { Cell::new(0) };
}

/// Runs `run` and gives its result, with the number of forbidden calls that this thread made meanwhile.
pub fn watched<T>(run: impl FnOnce() -> T) -> (T, usize) {
    real_mutex_lock();
    CALLS.with(|calls| calls.set(0));
    ARMED.with(|armed| armed.set(true));
    let out = run();
    ARMED.with(|armed| armed.set(false));
    (out, CALLS.with(Cell::get))
}

fn note() {
    if ARMED.with(Cell::get) {
        CALLS.with(|calls| calls.set(calls.get() + 1));
    }
}

extern "C" {
    fn __libc_malloc(size: usize) -> *mut c_void;
    fn __libc_calloc(count: usize, size: usize) -> *mut c_void;
    fn __libc_realloc(memory: *mut c_void, size: usize) -> *mut c_void;
    fn __libc_memalign(alignment: usize, size: usize) -> *mut c_void;
    fn __libc_free(memory: *mut c_void);
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
}

type MutexLock = unsafe extern "C" fn(*mut c_void) -> c_int;

static MUTEX_LOCK: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());

fn real_mutex_lock() -> MutexLock {
    const NEXT: *mut c_void = -1isize as *mut c_void;
    let mut found = MUTEX_LOCK.load(Ordering::Relaxed);
    // SAFETY: glibc has that function, of that type.
    unsafe {
        if found.is_null() {
            found = dlsym(NEXT, b"pthread_mutex_lock\0".as_ptr().cast());
            MUTEX_LOCK.store(found, Ordering::Relaxed);
        }
        std::mem::transmute::<*mut c_void, MutexLock>(found)
    }
}

#[no_mangle]
unsafe extern "C" fn malloc(size: usize) -> *mut c_void {
    note();
    __libc_malloc(size)
}

#[no_mangle]
unsafe extern "C" fn calloc(count: usize, size: usize) -> *mut c_void {
    note();
    __libc_calloc(count, size)
}

#[no_mangle]
unsafe extern "C" fn realloc(memory: *mut c_void, size: usize) -> *mut c_void {
    note();
    __libc_realloc(memory, size)
}

#[no_mangle]
unsafe extern "C" fn memalign(alignment: usize, size: usize) -> *mut c_void {
    note();
    __libc_memalign(alignment, size)
}

#[no_mangle]
unsafe extern "C" fn aligned_alloc(alignment: usize, size: usize) -> *mut c_void {
    note();
    __libc_memalign(alignment, size)
}

#[no_mangle]
unsafe extern "C" fn posix_memalign(out: *mut *mut c_void, alignment: usize, size: usize) -> c_int {
    const ENOMEM: c_int = 12;
    note();
    *out = __libc_memalign(alignment, size);
    if (*out).is_null() {
        ENOMEM
    } else {
        0
    }
}

#[no_mangle]
unsafe extern "C" fn free(memory: *mut c_void) {
    note();
    __libc_free(memory);
}

#[no_mangle]
unsafe extern "C" fn pthread_mutex_lock(mutex: *mut c_void) -> c_int {
    note();
    real_mutex_lock()(mutex)
}
