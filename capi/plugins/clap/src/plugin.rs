//! The plugin as CLAP sees it.

use crate::engine::{Audio, Engine, Player};
use crate::extensions;
use crate::host::Host;
use clap_sys::events::{
    clap_event_header, clap_event_param_value, clap_input_events, CLAP_CORE_EVENT_SPACE_ID,
    CLAP_EVENT_PARAM_VALUE,
};
use clap_sys::host::clap_host;
use clap_sys::plugin::{clap_plugin, clap_plugin_descriptor};
use clap_sys::process::{
    clap_process, clap_process_status, CLAP_PROCESS_CONTINUE, CLAP_PROCESS_ERROR,
};
use std::cell::UnsafeCell;
use std::ffi::{c_void, CStr};
use std::os::raw::c_char;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::PathBuf;
use std::ptr;

/// The number of the only parameter, the share of the model in the output.
pub const WET: u32 = 1;

/// The channels of the largest form of the plugin.
const MAX_CHANNELS: usize = 2;

/// The model of a new instance, for hosts that have no other way to load one.
const MODEL_VARIABLE: &str = "SEQUENCE_LAYERS_CLAP_MODEL";

pub struct Plugin {
    raw: clap_plugin,
    host: Host,
    pub channels: usize,
    /// From `init` on.
    engine: UnsafeCell<Option<Engine>>,
    /// While the plugin is active: the audio thread's. The main thread makes and takes it while it is not.
    player: UnsafeCell<Option<Player>>,
}

/// Runs a callback's work. No panic may reach the host.
pub fn guarded<T>(fallback: T, run: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(run)).unwrap_or(fallback)
}

impl Plugin {
    /// # Safety
    /// `host` must be alive, and outlive the plugin.
    pub unsafe fn create(
        descriptor: *const clap_plugin_descriptor,
        host: *const clap_host,
        channels: usize,
    ) -> *const clap_plugin {
        let plugin = Box::into_raw(Box::new(Plugin {
            raw: clap_plugin {
                desc: descriptor,
                plugin_data: ptr::null_mut(),
                init: Some(init),
                destroy: Some(destroy),
                activate: Some(activate),
                deactivate: Some(deactivate),
                start_processing: Some(start_processing),
                stop_processing: Some(stop_processing),
                reset: Some(reset),
                process: Some(process),
                get_extension: Some(get_extension),
                on_main_thread: Some(on_main_thread),
            },
            host: Host::new(host),
            channels,
            engine: UnsafeCell::new(None),
            player: UnsafeCell::new(None),
        }));
        (*plugin).raw.plugin_data = plugin.cast();
        &(*plugin).raw
    }

    /// # Safety
    /// `plugin` must have come from `create`.
    pub unsafe fn of<'a>(plugin: *const clap_plugin) -> &'a Plugin {
        &*((*plugin).plugin_data as *const Plugin)
    }

    /// # Safety
    /// `init` must have returned.
    pub unsafe fn engine(&self) -> Option<&Engine> {
        (*self.engine.get()).as_ref()
    }

    /// # Safety
    /// Only on the audio thread while the plugin is active, and on the main thread while it is not.
    #[allow(clippy::mut_from_ref)] // CLAP says who has it when
    unsafe fn player(&self) -> &mut Option<Player> {
        &mut *self.player.get()
    }
}

unsafe extern "C" fn init(plugin: *const clap_plugin) -> bool {
    guarded(false, || {
        let plugin = Plugin::of(plugin);
        let engine = Engine::new(plugin.host.with_extensions());
        if let Some(path) = std::env::var_os(MODEL_VARIABLE).filter(|path| !path.is_empty()) {
            engine.load(Some(PathBuf::from(path)));
        }
        *plugin.engine.get() = Some(engine);
        true
    })
}

unsafe extern "C" fn destroy(plugin: *const clap_plugin) {
    guarded((), || {
        drop(Box::from_raw((*plugin).plugin_data.cast::<Plugin>()));
    });
}

unsafe extern "C" fn activate(
    plugin: *const clap_plugin,
    sample_rate: f64,
    _min_frames: u32,
    max_frames: u32,
) -> bool {
    guarded(false, || {
        let plugin = Plugin::of(plugin);
        let engine = match plugin.engine() {
            Some(engine) => engine,
            None => return false,
        };
        let made = engine.activate(Audio {
            rate: sample_rate,
            max_frames: max_frames as usize,
            channels: plugin.channels,
        });
        match made {
            Ok(player) => *plugin.player() = Some(player),
            Err(error) => engine.host().log_error(&error.to_string()),
        }
        plugin.player().is_some()
    })
}

unsafe extern "C" fn deactivate(plugin: *const clap_plugin) {
    guarded((), || {
        let plugin = Plugin::of(plugin);
        if let (Some(engine), Some(player)) = (plugin.engine(), plugin.player().take()) {
            engine.deactivate(player);
        }
    });
}

unsafe extern "C" fn start_processing(_plugin: *const clap_plugin) -> bool {
    true
}

unsafe extern "C" fn stop_processing(_plugin: *const clap_plugin) {}

unsafe extern "C" fn reset(plugin: *const clap_plugin) {
    guarded((), || {
        if let Some(player) = Plugin::of(plugin).player() {
            player.reset();
        }
    });
}

/// The events of a call. CLAP has them in the order of their times.
///
/// # Safety
/// `events` must be null or alive.
unsafe fn each_event(events: *const clap_input_events, mut with: impl FnMut(&clap_event_header)) {
    let list = match events.as_ref() {
        Some(list) => list,
        None => return,
    };
    if let (Some(size), Some(get)) = (list.size, list.get) {
        for index in 0..size(events) {
            if let Some(event) = get(events, index).as_ref() {
                with(event);
            }
        }
    }
}

/// Sets the parameter that an event says. Real-time safe.
///
/// # Safety
/// The event must be of the size and type that it says.
unsafe fn apply(engine: &Engine, event: &clap_event_header) {
    if event.space_id == CLAP_CORE_EVENT_SPACE_ID && event.type_ == CLAP_EVENT_PARAM_VALUE {
        let value = &*(event as *const clap_event_header).cast::<clap_event_param_value>();
        if value.param_id == WET {
            engine.shared.set_wet(value.value);
        }
    }
}

/// Applies events outside of `process`.
///
/// # Safety
/// `events` must be null or alive.
pub unsafe fn apply_all(engine: &Engine, events: *const clap_input_events) {
    each_event(events, |event| apply(engine, event));
}

/// The channels of the one port of a side, if it has what the plugin asked for.
///
/// # Safety
/// `process` must be what a host gives.
unsafe fn channels(
    process: &clap_process,
    is_input: bool,
    count: usize,
) -> Option<*const *mut f32> {
    let (ports, port) = if is_input {
        (process.audio_inputs_count, process.audio_inputs)
    } else {
        (
            process.audio_outputs_count,
            process.audio_outputs as *const _,
        )
    };
    if ports < 1 || port.is_null() {
        return None;
    }
    let port = &*port;
    if port.channel_count as usize != count || port.data32.is_null() {
        return None;
    }
    Some(port.data32.cast())
}

/// Pointers that are `frames` further on.
///
/// # Safety
/// `channels` must point to `count` pointers to more than `frames` samples.
unsafe fn advanced(
    channels: *const *mut f32,
    count: usize,
    frames: usize,
) -> [*mut f32; MAX_CHANNELS] {
    let mut out = [ptr::null_mut(); MAX_CHANNELS];
    for (index, pointer) in out.iter_mut().enumerate().take(count) {
        *pointer = (*channels.add(index)).add(frames);
    }
    out
}

unsafe extern "C" fn process(
    plugin: *const clap_plugin,
    process: *const clap_process,
) -> clap_process_status {
    guarded(CLAP_PROCESS_ERROR, || play(Plugin::of(plugin), &*process))
}

/// Plays one call, split at the times of its events. Real-time safe.
///
/// # Safety
/// `process` must be what a host gives on the audio thread.
unsafe fn play(plugin: &Plugin, process: &clap_process) -> clap_process_status {
    let (engine, player) = match (plugin.engine(), plugin.player()) {
        (Some(engine), Some(player)) => (engine, player),
        _ => return CLAP_PROCESS_ERROR,
    };
    let count = plugin.channels;
    let (input, output) = match (
        channels(process, true, count),
        channels(process, false, count),
    ) {
        (Some(input), Some(output)) => (input, output),
        _ => return CLAP_PROCESS_ERROR,
    };
    player.exchange_models();
    let frames = process.frames_count as usize;
    let mut begin = 0;
    let mut is_good = true;
    let mut play_to = |end: usize| {
        if end > begin {
            let input = advanced(input, count, begin);
            let output = advanced(output, count, begin);
            is_good &= player.play(input.as_ptr().cast(), output.as_ptr(), end - begin);
            begin = end;
        }
    };
    each_event(process.in_events, |event| {
        play_to(frames.min(event.time as usize));
        apply(engine, event);
    });
    play_to(frames);
    if is_good {
        CLAP_PROCESS_CONTINUE
    } else {
        CLAP_PROCESS_ERROR
    }
}

unsafe extern "C" fn get_extension(
    _plugin: *const clap_plugin,
    id: *const c_char,
) -> *const c_void {
    extensions::find(CStr::from_ptr(id))
}

unsafe extern "C" fn on_main_thread(plugin: *const clap_plugin) {
    guarded((), || {
        if let Some(engine) = Plugin::of(plugin).engine() {
            engine.on_main_thread();
        }
    });
}
