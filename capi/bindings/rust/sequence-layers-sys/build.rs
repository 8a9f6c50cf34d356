//! Finds libsequence_layers and tells Cargo how to link it.

use std::env;
use std::path::Path;
use std::process::Command;

/// Version of the C ABI that the bindings are of.
const ABI: &str = "1.0";
/// Libraries that the static one needs, in the order of the link, as in its pkg-config file.
const STATIC_NEEDS: [&str; 5] = ["hwy", "stdc++", "m", "dl", "pthread"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for variable in [
        "SEQUENCE_LAYERS_LIB_DIR",
        "SEQUENCE_LAYERS_STATIC",
        "PKG_CONFIG",
        "PKG_CONFIG_PATH",
    ] {
        println!("cargo:rerun-if-env-changed={}", variable);
    }
    // Documentation is built without the library.
    if env::var_os("DOCS_RS").is_some() {
        return;
    }
    let is_static = env::var_os("CARGO_FEATURE_STATIC").is_some()
        || env::var("SEQUENCE_LAYERS_STATIC").map_or(false, |value| value != "0");
    match env::var("SEQUENCE_LAYERS_LIB_DIR") {
        Ok(directory) => link_in(&directory, is_static),
        Err(_) => link_by_pkg_config(is_static),
    }
}

fn link_in(directory: &str, is_static: bool) {
    if !Path::new(directory).is_dir() {
        panic!(
            "SEQUENCE_LAYERS_LIB_DIR is {}, which is no directory",
            directory
        );
    }
    add_directory(directory);
    add_library("sequence_layers", is_static);
    if is_static {
        STATIC_NEEDS
            .iter()
            .for_each(|library| add_library(library, false));
    }
}

fn link_by_pkg_config(is_static: bool) {
    let flags = pkg_config(is_static).unwrap_or_else(|reason| {
        panic!(
            "libsequence_layers not found: {}\nInstall it, or set SEQUENCE_LAYERS_LIB_DIR to the \
             directory of libsequence_layers.so (with the feature `static`, of \
             libsequence_layers.a).",
            reason
        )
    });
    for flag in flags.split_whitespace() {
        if let Some(directory) = flag.strip_prefix("-L") {
            add_directory(directory);
        } else if let Some(library) = flag.strip_prefix("-l") {
            add_library(library, is_static && library == "sequence_layers");
        }
    }
}

/// The flags of the linker, or why there are none.
fn pkg_config(is_static: bool) -> Result<String, String> {
    let program = env::var("PKG_CONFIG").unwrap_or_else(|_| "pkg-config".to_string());
    let mut command = Command::new(&program);
    command.args(["--libs", "--print-errors"]);
    // System directories are printed too, as a static library is searched in named ones only.
    command.env("PKG_CONFIG_ALLOW_SYSTEM_LIBS", "1");
    if is_static {
        command.arg("--static");
    }
    command.arg(format!("sequence_layers >= {}", ABI));
    let output = command
        .output()
        .map_err(|error| format!("{} does not run: {}", program, error))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(text(&output.stderr))
    }
}

fn add_directory(directory: &str) {
    println!("cargo:rustc-link-search=native={}", directory);
    println!("cargo:lib_dir={}", directory);
}

fn add_library(name: &str, is_static: bool) {
    let kind = if is_static { "static" } else { "dylib" };
    println!("cargo:rustc-link-lib={}={}", kind, name);
}
