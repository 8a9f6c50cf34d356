//! The preset-load extension as CLAP has it since 1.1.8, which is later than what clap-sys binds of it.
#![allow(non_camel_case_types)]

use clap_sys::plugin::clap_plugin;
use std::ffi::CStr;
use std::os::raw::c_char;

/// Its name.
pub const CLAP_EXT_PRESET_LOAD: &CStr = name(b"clap.preset-load/2\0");
/// Its name as a draft, whose struct was the same.
pub const CLAP_EXT_PRESET_LOAD_DRAFT: &CStr = name(b"clap.preset-load.draft/2\0");

/// The location is the path of a file or a directory.
pub const CLAP_PRESET_DISCOVERY_LOCATION_FILE: u32 = 0;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct clap_plugin_preset_load {
    /// Loads what is at a location. [main-thread]
    pub from_location: Option<
        unsafe extern "C" fn(
            plugin: *const clap_plugin,
            location_kind: u32,
            location: *const c_char,
            load_key: *const c_char,
        ) -> bool,
    >,
}

const fn name(bytes: &'static [u8]) -> &'static CStr {
    // SAFETY: the two above end in zero.
    unsafe { CStr::from_bytes_with_nul_unchecked(bytes) }
}
