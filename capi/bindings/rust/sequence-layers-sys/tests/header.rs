//! The bindings agree with the library and with its list of symbols. `bindgen.sh --check` compares them with the header.

use sequence_layers_sys as sys;
use std::collections::BTreeSet;
use std::mem::size_of;
use std::path::{Path, PathBuf};

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../../..")
        .join(path)
}

fn read(path: &str) -> String {
    let path = in_repository(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {}", path.display(), error))
}

#[test]
fn every_function_of_the_abi_is_declared() {
    let table = read("capi/symbols.txt");
    let symbols: BTreeSet<&str> = table
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    let bindings = read("capi/bindings/rust/sequence-layers-sys/src/bindings.rs");
    let declared: BTreeSet<&str> = bindings
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub fn "))
        .filter_map(|line| line.split('(').next())
        .collect();
    assert!(symbols.len() > 70, "{} symbols", symbols.len());
    assert_eq!(declared, symbols);
}

/// The `struct_size` that `_init` of the library writes: the size in version 1.0.
macro_rules! size_by_library {
    ($type:ident, $init:ident) => {{
        let mut value = sys::$type::default();
        // SAFETY: `_init` functions write to their argument only.
        unsafe { sys::$init(&mut value) };
        (
            stringify!($type),
            value.struct_size as usize,
            size_of::<sys::$type>(),
        )
    }};
}

#[test]
fn structs_have_the_sizes_of_the_library() {
    let sizes = [
        size_by_library!(sl_error, sl_error_init),
        size_by_library!(sl_channel_spec, sl_channel_spec_init),
        size_by_library!(sl_sequence, sl_sequence_init),
        size_by_library!(sl_layer_options, sl_layer_options_init),
        size_by_library!(sl_run_options, sl_run_options_init),
        size_by_library!(sl_state_options, sl_state_options_init),
        size_by_library!(sl_constant_info, sl_constant_info_init),
        size_by_library!(sl_step_difference, sl_step_difference_init),
        size_by_library!(sl_decoder_options, sl_decoder_options_init),
        size_by_library!(sl_layer_properties, sl_layer_properties_init),
        size_by_library!(sl_layer_callbacks, sl_layer_callbacks_init),
        size_by_library!(sl_pipe_options, sl_pipe_options_init),
        size_by_library!(sl_allocator, sl_allocator_init),
    ];
    for (name, library, bindings) in sizes {
        assert!(library > 0, "{}", name);
        assert!(bindings >= library, "{}: {} < {}", name, bindings, library);
    }
}

#[test]
fn infinity_is_that_of_the_header() {
    let header = read("include/sequence_layers/sequence_layers.h");
    assert!(header.contains("#define SL_INFINITE INT64_MAX"));
    assert_eq!(sys::SL_INFINITE, i64::MAX);
}

#[test]
fn the_library_is_of_this_major_version() {
    // SAFETY: any thread may ask for the version at any time.
    let version = unsafe { sys::sl_version() };
    assert_eq!(version >> 16, sys::SL_VERSION_MAJOR);
}
