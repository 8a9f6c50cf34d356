//! Ports, the parameter, latency, saved state, and models given as presets.

use crate::plugin::{apply_all, guarded, Plugin, WET};
use crate::preset_load::{
    clap_plugin_preset_load, CLAP_EXT_PRESET_LOAD, CLAP_EXT_PRESET_LOAD_DRAFT,
    CLAP_PRESET_DISCOVERY_LOCATION_FILE,
};
use crate::saved::Saved;
use clap_sys::events::{clap_input_events, clap_output_events};
use clap_sys::ext::audio_ports::{
    clap_audio_port_info, clap_plugin_audio_ports, CLAP_AUDIO_PORT_IS_MAIN, CLAP_EXT_AUDIO_PORTS,
    CLAP_PORT_MONO, CLAP_PORT_STEREO,
};
use clap_sys::ext::latency::{clap_plugin_latency, CLAP_EXT_LATENCY};
use clap_sys::ext::params::{
    clap_param_info, clap_plugin_params, CLAP_EXT_PARAMS, CLAP_PARAM_IS_AUTOMATABLE,
};
use clap_sys::ext::state::{clap_plugin_state, CLAP_EXT_STATE};
use clap_sys::id::clap_id;
use clap_sys::plugin::clap_plugin;
use clap_sys::stream::{clap_istream, clap_ostream};
use std::ffi::{c_void, CStr};
use std::os::raw::c_char;
use std::path::PathBuf;
use std::ptr;

static AUDIO_PORTS: clap_plugin_audio_ports = clap_plugin_audio_ports {
    count: Some(port_count),
    get: Some(port),
};

static PARAMS: clap_plugin_params = clap_plugin_params {
    count: Some(param_count),
    get_info: Some(param_info),
    get_value: Some(param_value),
    value_to_text: Some(value_to_text),
    text_to_value: Some(text_to_value),
    flush: Some(flush),
};

static LATENCY: clap_plugin_latency = clap_plugin_latency { get: Some(latency) };

static STATE: clap_plugin_state = clap_plugin_state {
    save: Some(save),
    load: Some(load),
};

static PRESETS: clap_plugin_preset_load = clap_plugin_preset_load {
    from_location: Some(from_location),
};

/// The extension of that name, or null.
pub fn find(id: &CStr) -> *const c_void {
    let known: [(&CStr, *const c_void); 6] = [
        (CLAP_EXT_AUDIO_PORTS, &AUDIO_PORTS as *const _ as _),
        (CLAP_EXT_PARAMS, &PARAMS as *const _ as _),
        (CLAP_EXT_LATENCY, &LATENCY as *const _ as _),
        (CLAP_EXT_STATE, &STATE as *const _ as _),
        (CLAP_EXT_PRESET_LOAD, &PRESETS as *const _ as _),
        (CLAP_EXT_PRESET_LOAD_DRAFT, &PRESETS as *const _ as _),
    ];
    let found = known.iter().find(|(name, _)| *name == id);
    found.map_or(ptr::null(), |(_, extension)| *extension)
}

/// Writes a text that is cut to fit, with its final zero.
///
/// # Safety
/// `out` must have room for `capacity` bytes.
unsafe fn write_text(text: &str, out: *mut c_char, capacity: usize) {
    if capacity == 0 {
        return;
    }
    let len = text.len().min(capacity - 1);
    ptr::copy_nonoverlapping(text.as_ptr().cast(), out, len);
    out.add(len).write(0);
}

unsafe extern "C" fn port_count(_plugin: *const clap_plugin, _is_input: bool) -> u32 {
    1
}

unsafe extern "C" fn port(
    plugin: *const clap_plugin,
    index: u32,
    _is_input: bool,
    info: *mut clap_audio_port_info,
) -> bool {
    if index != 0 {
        return false;
    }
    let channels = Plugin::of(plugin).channels;
    let info = &mut *info;
    info.id = 0;
    write_text("Main", info.name.as_mut_ptr(), info.name.len());
    info.flags = CLAP_AUDIO_PORT_IS_MAIN;
    info.channel_count = channels as u32;
    info.port_type = if channels == 1 {
        CLAP_PORT_MONO.as_ptr()
    } else {
        CLAP_PORT_STEREO.as_ptr()
    };
    info.in_place_pair = 0;
    true
}

unsafe extern "C" fn param_count(_plugin: *const clap_plugin) -> u32 {
    1
}

unsafe extern "C" fn param_info(
    _plugin: *const clap_plugin,
    index: u32,
    info: *mut clap_param_info,
) -> bool {
    if index != 0 {
        return false;
    }
    let info = &mut *info;
    info.id = WET;
    info.flags = CLAP_PARAM_IS_AUTOMATABLE;
    info.cookie = ptr::null_mut();
    write_text("Dry/wet", info.name.as_mut_ptr(), info.name.len());
    write_text("", info.module.as_mut_ptr(), info.module.len());
    info.min_value = 0.0;
    info.max_value = 1.0;
    info.default_value = 1.0;
    true
}

unsafe extern "C" fn param_value(plugin: *const clap_plugin, id: clap_id, out: *mut f64) -> bool {
    match Plugin::of(plugin).engine() {
        Some(engine) if id == WET => {
            *out = engine.shared.wet();
            true
        }
        _ => false,
    }
}

unsafe extern "C" fn value_to_text(
    _plugin: *const clap_plugin,
    id: clap_id,
    value: f64,
    out: *mut c_char,
    capacity: u32,
) -> bool {
    if id != WET {
        return false;
    }
    guarded(false, || {
        let text = format!("{:.1} %", 100.0 * value);
        write_text(&text, out, capacity as usize);
        true
    })
}

unsafe extern "C" fn text_to_value(
    _plugin: *const clap_plugin,
    id: clap_id,
    text: *const c_char,
    out: *mut f64,
) -> bool {
    let text = CStr::from_ptr(text).to_str().unwrap_or("");
    match text.trim().trim_end_matches('%').trim_end().parse::<f64>() {
        Ok(percent) if id == WET && percent.is_finite() => {
            *out = (percent / 100.0).clamp(0.0, 1.0);
            true
        }
        _ => false,
    }
}

unsafe extern "C" fn flush(
    plugin: *const clap_plugin,
    events: *const clap_input_events,
    _out: *const clap_output_events,
) {
    if let Some(engine) = Plugin::of(plugin).engine() {
        apply_all(engine, events);
    }
}

unsafe extern "C" fn latency(plugin: *const clap_plugin) -> u32 {
    Plugin::of(plugin)
        .engine()
        .map_or(0, |engine| engine.shared.latency())
}

unsafe extern "C" fn save(plugin: *const clap_plugin, stream: *const clap_ostream) -> bool {
    guarded(false, || match Plugin::of(plugin).engine() {
        Some(engine) => {
            let saved = Saved {
                wet: engine.shared.wet(),
                path: engine.path(),
            };
            write_all(stream, &saved.to_bytes())
        }
        None => false,
    })
}

unsafe extern "C" fn load(plugin: *const clap_plugin, stream: *const clap_istream) -> bool {
    guarded(false, || {
        let saved = read_all(stream).and_then(|bytes| Saved::from_bytes(&bytes));
        match (Plugin::of(plugin).engine(), saved) {
            (Some(engine), Some(saved)) => {
                engine.shared.set_wet(saved.wet);
                engine.load(saved.path);
                true
            }
            _ => false,
        }
    })
}

/// # Safety
/// `stream` must be alive.
unsafe fn write_all(stream: *const clap_ostream, mut bytes: &[u8]) -> bool {
    let write = match (*stream).write {
        Some(write) => write,
        None => return false,
    };
    while !bytes.is_empty() {
        let written = write(stream, bytes.as_ptr().cast(), bytes.len() as u64);
        match usize::try_from(written) {
            Ok(count) if count > 0 && count <= bytes.len() => bytes = &bytes[count..],
            _ => return false,
        }
    }
    true
}

/// All that the stream holds, or none if that is more than a state has or cannot be read.
///
/// # Safety
/// `stream` must be alive.
unsafe fn read_all(stream: *const clap_istream) -> Option<Vec<u8>> {
    let read = (*stream).read?;
    let mut out = Vec::new();
    let mut part = [0u8; 4096];
    loop {
        let count = read(stream, part.as_mut_ptr().cast(), part.len() as u64);
        match usize::try_from(count) {
            Ok(0) => return Some(out),
            Ok(count) => out.extend(part.get(..count)?),
            Err(_) => return None,
        }
        if out.len() > Saved::max_bytes() {
            return None;
        }
    }
}

/// A model directory, or a file in it, such as its `config.json`.
unsafe extern "C" fn from_location(
    plugin: *const clap_plugin,
    kind: u32,
    location: *const c_char,
    _load_key: *const c_char,
) -> bool {
    guarded(false, || {
        if kind != CLAP_PRESET_DISCOVERY_LOCATION_FILE || location.is_null() {
            return false;
        }
        let mut path = match CStr::from_ptr(location).to_str() {
            Ok(path) => PathBuf::from(path),
            Err(_) => return false,
        };
        if path.is_file() {
            path.pop();
        }
        match Plugin::of(plugin).engine() {
            Some(engine) if path.join("config.json").is_file() => {
                engine.load(Some(path));
                engine.host().mark_dirty();
                true
            }
            _ => false,
        }
    })
}
