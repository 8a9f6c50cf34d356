//! Messages of the library.

use crate::error::{c_enum, lossy};
use crate::sys;
use std::os::raw::{c_char, c_void};
use std::panic::catch_unwind;
use std::ptr;

c_enum! {
    /// Severity of a log message.
    LogLevel {
        /// Details for the library's developers.
        Debug = SL_LOG_DEBUG,
        /// Steps of its work.
        Info = SL_LOG_INFO,
        /// Possible surprises.
        Warning = SL_LOG_WARNING,
        /// Failures beside an error that is returned.
        Error = SL_LOG_ERROR,
        /// Nothing.
        Off = SL_LOG_OFF,
    }
}

/// Sends log messages of at least `level` to `callback`; without one, as at first, to stderr. Steps never log. A panic of
/// the callback is dropped.
///
/// ```
/// # // SAFETY: no other thread of this program uses the library.
/// unsafe {
///     sequence_layers::set_log(sequence_layers::LogLevel::Error, None);
/// }
/// ```
///
/// # Safety
/// No other thread may be inside the library.
pub unsafe fn set_log(level: LogLevel, callback: Option<fn(LogLevel, &str)>) {
    match callback {
        Some(callback) => sys::sl_log_set(Some(forward), callback as *mut c_void, level.code()),
        None => sys::sl_log_set(None, ptr::null_mut(), level.code()),
    }
}

unsafe extern "C" fn forward(user_data: *mut c_void, level: i32, message: *const c_char) {
    let callback: fn(LogLevel, &str) = std::mem::transmute(user_data);
    let _ = catch_unwind(|| callback(LogLevel::from_code(level), &lossy(message)));
}
