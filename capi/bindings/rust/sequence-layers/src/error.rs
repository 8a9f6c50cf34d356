//! Errors: a status and a message.

use crate::sys;
use std::ffi::{CStr, CString};
use std::fmt;
use std::mem::{size_of, MaybeUninit};
use std::os::raw::c_char;
use std::ptr::{self, addr_of_mut, NonNull};

/// Declares an enum of the C ABI: its variants with their constants, and `Other` for what later versions add.
macro_rules! c_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$item_doc:meta])* $item:ident = $constant:ident,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$item_doc])* $item,)*
            /// A number that a later version of the library added.
            Other(i32),
        }

        impl $name {
            /// The number in the C ABI.
            #[inline]
            pub fn code(self) -> i32 {
                match self {
                    $($name::$item => crate::sys::$constant,)*
                    $name::Other(code) => code,
                }
            }

            /// The variant of a number of the C ABI.
            #[inline]
            pub fn from_code(code: i32) -> Self {
                match code {
                    $(crate::sys::$constant => $name::$item,)*
                    _ => $name::Other(code),
                }
            }
        }
    };
}
pub(crate) use c_enum;

c_enum! {
    /// Why a call failed.
    Status {
        /// A size, an index or a name that cannot be, or a call out of order.
        InvalidArgument = SL_STATUS_INVALID_ARGUMENT,
        /// The JSON config: the message names the JSON path and what was expected.
        Config = SL_STATUS_CONFIG,
        /// A missing, extra, misshapen or mistyped tensor, or a broken weights file.
        Weights = SL_STATUS_WEIGHTS,
        /// A channel shape, dtype or length that the layer cannot take.
        Shape = SL_STATUS_SHAPE,
        /// The layer cannot do this, such as step a convolution that is not causal.
        Unsupported = SL_STATUS_UNSUPPORTED,
        /// A file that cannot be read.
        Io = SL_STATUS_IO,
        /// Memory, or the limit of [`LayerOptions::max_bytes`](crate::LayerOptions::max_bytes).
        OutOfMemory = SL_STATUS_OUT_OF_MEMORY,
        /// Saved bytes of another model, other options or another version.
        State = SL_STATUS_STATE,
        /// A custom layer reported failure, or panicked.
        Callback = SL_STATUS_CALLBACK,
        /// A defect of the library.
        Internal = SL_STATUS_INTERNAL,
        /// More steps than the `max_length` of a stream.
        Length = SL_STATUS_LENGTH,
    }
}

impl Status {
    /// A short English name.
    pub fn name(self) -> &'static str {
        // SAFETY: the name of any number is a static string of ASCII.
        unsafe { static_str(sys::sl_status_name(self.code())) }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::error::Error for Status {}

/// A call that failed: its status, and a message that says where and what was expected.
///
/// ```
/// use sequence_layers::{Layer, Status};
///
/// let error = Layer::from_config(r#"{"type": "Delya"}"#).unwrap_err();
/// assert_eq!(error.status(), Status::Config);
/// assert!(error.message().contains("did you mean \"Delay\""), "{}", error);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    status: Status,
    message: String,
}

impl Error {
    /// An error of a custom layer.
    pub fn new(status: Status, message: impl Into<String>) -> Self {
        Error {
            status,
            message: message.into(),
        }
    }

    /// Why the call failed, for programs.
    pub fn status(&self) -> Status {
        self.status
    }

    /// The number of the status in the C ABI.
    pub fn code(&self) -> i32 {
        self.status.code()
    }

    /// Why the call failed, for people.
    pub fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Error::new(Status::InvalidArgument, message)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.message.is_empty() {
            return self.status.fmt(f);
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl From<Status> for Error {
    fn from(status: Status) -> Self {
        Error::new(status, "")
    }
}

/// The result of this crate's calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Makes `error` ready for a call. The rest of its message stays as it is, since clearing it would cost more than a step
/// of a small model.
///
/// # Safety
/// `error` must be valid for writes.
#[inline]
unsafe fn prepare(error: *mut sys::sl_error) {
    addr_of_mut!((*error).struct_size).write(size_of::<sys::sl_error>() as u32);
    addr_of_mut!((*error).code).write(sys::SL_STATUS_OK);
    addr_of_mut!((*error).message).cast::<c_char>().write(0);
}

/// # Safety
/// `error` must have been prepared and given to a call.
#[cold]
unsafe fn taken(status: i32, error: *const sys::sl_error) -> Error {
    let message = ptr::addr_of!((*error).message).cast::<c_char>();
    Error::new(Status::from_code(status), lossy(message))
}

/// Calls `call`, which returns a status.
#[inline]
pub(crate) fn check(call: impl FnOnce(*mut sys::sl_error) -> sys::sl_status) -> Result<()> {
    let mut error = MaybeUninit::uninit();
    // SAFETY: `error` is valid, and prepared before the call.
    unsafe {
        prepare(error.as_mut_ptr());
        match call(error.as_mut_ptr()) {
            sys::SL_STATUS_OK => Ok(()),
            status => Err(taken(status, error.as_ptr())),
        }
    }
}

/// Calls `call`, which returns a count, or -1 after an error.
pub(crate) fn check_count(call: impl FnOnce(*mut sys::sl_error) -> i64) -> Result<usize> {
    let mut count = 0;
    check(|error| {
        count = call(error);
        match count {
            // SAFETY: `check` prepared it.
            -1 => unsafe { (*error).code },
            _ => sys::SL_STATUS_OK,
        }
    })?;
    Ok(to_usize(count))
}

/// The handle that `call` makes.
pub(crate) fn make<T>(
    call: impl FnOnce(*mut *mut T, *mut sys::sl_error) -> sys::sl_status,
) -> Result<NonNull<T>> {
    let mut handle = ptr::null_mut();
    check(|error| call(&mut handle, error))?;
    NonNull::new(handle).ok_or_else(|| Status::Internal.into())
}

/// The text that `call` writes to a buffer of a capacity, with the size that it needs.
pub(crate) fn text(
    call: impl Fn(*mut c_char, usize, *mut usize, *mut sys::sl_error) -> sys::sl_status,
) -> Result<String> {
    let mut needed = 0;
    check(|error| call(ptr::null_mut(), 0, &mut needed, error))?;
    let mut bytes = vec![0u8; needed];
    check(|error| call(bytes.as_mut_ptr().cast(), bytes.len(), &mut needed, error))?;
    bytes.pop(); // the final zero
    String::from_utf8(bytes).map_err(|_| Error::new(Status::Internal, "a text is not UTF-8"))
}

/// # Safety
/// `text` must be null or a string that ends in zero.
pub(crate) unsafe fn lossy(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    CStr::from_ptr(text).to_string_lossy().into_owned()
}

/// # Safety
/// `text` must be null or a string that ends in zero and lives as long as the process.
pub(crate) unsafe fn static_str(text: *const c_char) -> &'static str {
    optional_str(text).unwrap_or("")
}

/// # Safety
/// `text` must be null or a string that ends in zero and lives for `'a`.
pub(crate) unsafe fn optional_str<'a>(text: *const c_char) -> Option<&'a str> {
    if text.is_null() {
        return None;
    }
    CStr::from_ptr(text).to_str().ok()
}

/// A string for C, which must not contain a zero.
pub(crate) fn c_string(text: impl Into<Vec<u8>>, what: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::invalid(format!("{} contains a zero byte", what)))
}

/// A count or an index of the C ABI, which is never negative.
pub(crate) fn to_usize(value: i64) -> usize {
    usize::try_from(value).unwrap_or(0)
}

/// A size for the C ABI. Whatever does not fit is refused there as too large.
#[inline]
pub(crate) fn to_i64(value: usize) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
