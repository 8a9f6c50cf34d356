//! Raw bindings of libsequence_layers, one to one with the C header
//! `sequence_layers/sequence_layers.h`. The header is their manual: it tells what each function does, who owns what, and
//! on which threads it may be called. Programs use the crate `sequence-layers`, which is safe.
//!
//! Zero is the default of every field of every struct, so `Default::default()` takes the place of C's `_INIT` macros. It
//! leaves `struct_size` at 0, which means the struct of version 1.0.
//!
//! ```
//! use sequence_layers_sys as sys;
//!
//! // SAFETY: any thread may ask for the version at any time.
//! let version = unsafe { sys::sl_version() };
//! assert_eq!(version >> 16, sys::SL_VERSION_MAJOR);
//! ```
#![allow(non_camel_case_types)]

mod bindings;

pub use bindings::*;

/// An unbounded end of a receptive field; `-SL_INFINITE` is an unbounded start. (A macro that bindgen cannot read.)
pub const SL_INFINITE: i64 = i64::MAX;
