//! Types of elements.

use crate::error::{c_enum, optional_str};
use crate::sys;
use std::fmt;

c_enum! {
    /// Type of an element.
    DType {
        /// `f32`
        Float32 = SL_DTYPE_FLOAT32,
        /// `i32`
        Int32 = SL_DTYPE_INT32,
        /// `u8`, 0 or 1
        Bool = SL_DTYPE_BOOL,
        /// [`Complex32`]
        Complex64 = SL_DTYPE_COMPLEX64,
        /// [`Bf16`]
        BFloat16 = SL_DTYPE_BFLOAT16,
        /// [`F16`]
        Float16 = SL_DTYPE_FLOAT16,
        /// `i8`
        Int8 = SL_DTYPE_INT8,
    }
}

impl DType {
    /// Bytes of one element; 0 for an unknown dtype.
    pub fn size(self) -> usize {
        // SAFETY: any number may be asked for.
        unsafe { sys::sl_dtype_size(self.code()) }
    }

    /// The name that configs use, such as `"float32"`.
    pub fn name(self) -> &'static str {
        // SAFETY: names are static.
        unsafe { optional_str(sys::sl_dtype_name(self.code())) }.unwrap_or("unknown")
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Two `f32`, laid out as C's complex numbers are.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Complex32 {
    /// Real part.
    pub re: f32,
    /// Imaginary part.
    pub im: f32,
}

/// The bits of a bfloat16 number: the upper half of an `f32`.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bf16(pub u16);

/// The bits of a float16 number of IEEE 754.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct F16(pub u16);

mod sealed {
    pub trait Sealed {}
}

/// Types that sequences and arrays hold.
///
/// # Safety
/// Only this crate implements it, for types of the size of their dtype for which any bits are a value.
pub unsafe trait Element: sealed::Sealed + Copy + Default + Send + Sync + 'static {
    /// The type's number in the C ABI.
    const DTYPE: DType;
}

macro_rules! element {
    ($($type:ty => $dtype:ident,)*) => {
        $(
            impl sealed::Sealed for $type {}
            // SAFETY: plain numbers.
            unsafe impl Element for $type {
                const DTYPE: DType = DType::$dtype;
            }
        )*
    };
}

element! {
    f32 => Float32,
    i32 => Int32,
    u8 => Bool,
    Complex32 => Complex64,
    Bf16 => BFloat16,
    F16 => Float16,
    i8 => Int8,
}
