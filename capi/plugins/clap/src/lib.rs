//! A CLAP plugin that plays audio through a model of libsequence_layers, in a mono and in a stereo form.
//!
//! The model is a directory, which the host gives by the state that it saves, by the preset-load extension, or for a new
//! instance by the environment variable `SEQUENCE_LAYERS_CLAP_MODEL`. Without one the input is heard as it is.

mod engine;
mod extensions;
mod host;
mod plugin;
pub mod preset_load;
mod saved;

use clap_sys::entry::clap_plugin_entry;
use clap_sys::host::clap_host;
use clap_sys::plugin::{clap_plugin, clap_plugin_descriptor};
use clap_sys::plugin_factory::{clap_plugin_factory, CLAP_PLUGIN_FACTORY_ID};
use clap_sys::version::{clap_version_is_compatible, CLAP_VERSION};
use plugin::Plugin;
use std::ffi::{c_void, CStr};
use std::os::raw::c_char;
use std::ptr;

/// A C string that lives as long as the program.
macro_rules! c {
    ($($text:expr),+) => {
        concat!($($text),+, "\0").as_ptr() as *const std::os::raw::c_char
    };
}

/// A list that ends in null.
struct Features([*const c_char; 4]);

// SAFETY: constant strings.
unsafe impl Sync for Features {}

static MONO: Features = Features([c!("audio-effect"), c!("utility"), c!("mono"), ptr::null()]);
static STEREO: Features = Features([c!("audio-effect"), c!("utility"), c!("stereo"), ptr::null()]);

const fn descriptor(
    id: *const c_char,
    name: *const c_char,
    features: &'static Features,
) -> clap_plugin_descriptor {
    clap_plugin_descriptor {
        clap_version: CLAP_VERSION,
        id,
        name,
        vendor: c!("libsequence_layers"),
        url: c!(""),
        manual_url: c!(""),
        support_url: c!(""),
        version: c!(env!("CARGO_PKG_VERSION")),
        description: c!("Plays audio through a streamable sequence model"),
        features: features.0.as_ptr(),
    }
}

/// The forms of the plugin, by number of channels.
static DESCRIPTORS: [clap_plugin_descriptor; 2] = [
    descriptor(
        c!("sequence-layers.mono"),
        c!("Sequence Layers (mono)"),
        &MONO,
    ),
    descriptor(
        c!("sequence-layers.stereo"),
        c!("Sequence Layers (stereo)"),
        &STEREO,
    ),
];

static FACTORY: clap_plugin_factory = clap_plugin_factory {
    get_plugin_count: Some(plugin_count),
    get_plugin_descriptor: Some(plugin_descriptor),
    create_plugin: Some(create_plugin),
};

/// The symbol that hosts look for in the file.
#[no_mangle]
#[allow(non_upper_case_globals)]
pub static clap_entry: clap_plugin_entry = clap_plugin_entry {
    clap_version: CLAP_VERSION,
    init: Some(init),
    deinit: Some(deinit),
    get_factory: Some(factory),
};

unsafe extern "C" fn init(_path: *const c_char) -> bool {
    true
}

unsafe extern "C" fn deinit() {}

unsafe extern "C" fn factory(id: *const c_char) -> *const c_void {
    if CStr::from_ptr(id) == CLAP_PLUGIN_FACTORY_ID {
        return &FACTORY as *const _ as *const c_void;
    }
    ptr::null()
}

unsafe extern "C" fn plugin_count(_factory: *const clap_plugin_factory) -> u32 {
    DESCRIPTORS.len() as u32
}

unsafe extern "C" fn plugin_descriptor(
    _factory: *const clap_plugin_factory,
    index: u32,
) -> *const clap_plugin_descriptor {
    DESCRIPTORS
        .get(index as usize)
        .map_or(ptr::null(), |descriptor| descriptor)
}

unsafe extern "C" fn create_plugin(
    _factory: *const clap_plugin_factory,
    host: *const clap_host,
    id: *const c_char,
) -> *const clap_plugin {
    let wanted = CStr::from_ptr(id);
    let is_wanted = |descriptor: &&clap_plugin_descriptor| CStr::from_ptr(descriptor.id) == wanted;
    match DESCRIPTORS.iter().find(is_wanted) {
        Some(descriptor) if clap_version_is_compatible((*host).clap_version) => {
            let channels = if ptr::eq(descriptor, &DESCRIPTORS[0]) {
                1
            } else {
                2
            };
            Plugin::create(descriptor, host, channels)
        }
        _ => ptr::null(),
    }
}
