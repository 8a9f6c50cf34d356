//! A CLAP host of the tests' own: it opens the plugin's file as hosts do, and keeps to the threads that CLAP names.

#![allow(dead_code)] // each test program uses a part of it

pub mod watch;

use clap_sys::audio_buffer::clap_audio_buffer;
use clap_sys::entry::clap_plugin_entry;
use clap_sys::events::{
    clap_event_header, clap_event_param_value, clap_input_events, CLAP_CORE_EVENT_SPACE_ID,
    CLAP_EVENT_PARAM_VALUE,
};
use clap_sys::ext::latency::{clap_host_latency, clap_plugin_latency, CLAP_EXT_LATENCY};
use clap_sys::ext::log::{clap_host_log, CLAP_EXT_LOG};
use clap_sys::ext::params::{clap_plugin_params, CLAP_EXT_PARAMS};
use clap_sys::ext::state::{clap_host_state, clap_plugin_state, CLAP_EXT_STATE};
use clap_sys::host::clap_host;
use clap_sys::plugin::clap_plugin;
use clap_sys::plugin_factory::{clap_plugin_factory, CLAP_PLUGIN_FACTORY_ID};
use clap_sys::process::{clap_process, CLAP_PROCESS_CONTINUE};
use clap_sys::stream::{clap_istream, clap_ostream};
use clap_sys::version::CLAP_VERSION;
use sequence_layers_clap::preset_load::{clap_plugin_preset_load, CLAP_EXT_PRESET_LOAD};
use std::ffi::{c_void, CStr, CString};
use std::os::raw::{c_char, c_int};
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

pub const RATE: f64 = 48000.0;
pub const MAX_FRAMES: usize = 4096;

#[link(name = "dl")]
extern "C" {
    fn dlopen(path: *const c_char, flags: c_int) -> *mut c_void;
    fn dlsym(handle: *mut c_void, name: *const c_char) -> *mut c_void;
}

/// The plugin's file: Cargo puts it beside the tests, or one folder up.
fn file() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    let folders = program.ancestors().skip(1).take(2);
    let files = folders.map(|folder| folder.join("libsequence_layers_clap.so"));
    files
        .into_iter()
        .find(|file| file.is_file())
        .expect("the plugin's file")
}

pub fn entry() -> &'static clap_plugin_entry {
    const NOW: c_int = 2;
    let path = CString::new(file().to_str().unwrap()).unwrap();
    // SAFETY: the file stays open, and has that symbol of that type.
    unsafe {
        let handle = dlopen(path.as_ptr(), NOW);
        assert!(
            !handle.is_null(),
            "{} does not open",
            path.to_string_lossy()
        );
        let entry = dlsym(handle, b"clap_entry\0".as_ptr().cast());
        assert!(!entry.is_null(), "no clap_entry");
        let entry = &*(entry as *const clap_plugin_entry);
        assert!(entry.init.unwrap()(path.as_ptr()));
        entry
    }
}

pub fn factory() -> &'static clap_plugin_factory {
    // SAFETY: the id says what the pointer is.
    unsafe {
        let factory = entry().get_factory.unwrap()(CLAP_PLUGIN_FACTORY_ID.as_ptr());
        &*(factory as *const clap_plugin_factory)
    }
}

/// Environment variables are the whole program's: instances are made one after another.
fn one_at_a_time() -> MutexGuard<'static, ()> {
    static LOCK: Mutex<()> = Mutex::new(());
    LOCK.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Counts of the plugin's requests.
#[derive(Default)]
pub struct Requests {
    pub callbacks: AtomicUsize,
    pub restarts: AtomicUsize,
    pub processes: AtomicUsize,
    pub latency_changes: AtomicUsize,
    pub dirty: AtomicUsize,
    pub log: Mutex<Vec<String>>,
}

unsafe fn requests<'a>(host: *const clap_host) -> &'a Requests {
    &*((*host).host_data as *const Requests)
}

unsafe extern "C" fn request_callback(host: *const clap_host) {
    requests(host).callbacks.fetch_add(1, Ordering::SeqCst);
}

unsafe extern "C" fn request_restart(host: *const clap_host) {
    requests(host).restarts.fetch_add(1, Ordering::SeqCst);
}

unsafe extern "C" fn request_process(host: *const clap_host) {
    requests(host).processes.fetch_add(1, Ordering::SeqCst);
}

unsafe extern "C" fn latency_changed(host: *const clap_host) {
    requests(host)
        .latency_changes
        .fetch_add(1, Ordering::SeqCst);
}

unsafe extern "C" fn mark_dirty(host: *const clap_host) {
    requests(host).dirty.fetch_add(1, Ordering::SeqCst);
}

unsafe extern "C" fn log(host: *const clap_host, _severity: i32, message: *const c_char) {
    let text = CStr::from_ptr(message).to_string_lossy().into_owned();
    requests(host).log.lock().unwrap().push(text);
}

static HOST_LOG: clap_host_log = clap_host_log { log: Some(log) };
static HOST_LATENCY: clap_host_latency = clap_host_latency {
    changed: Some(latency_changed),
};
static HOST_STATE: clap_host_state = clap_host_state {
    mark_dirty: Some(mark_dirty),
};

unsafe extern "C" fn host_extension(_host: *const clap_host, id: *const c_char) -> *const c_void {
    let id = CStr::from_ptr(id);
    if id == CLAP_EXT_LOG {
        &HOST_LOG as *const _ as _
    } else if id == CLAP_EXT_LATENCY {
        &HOST_LATENCY as *const _ as _
    } else if id == CLAP_EXT_STATE {
        &HOST_STATE as *const _ as _
    } else {
        ptr::null()
    }
}

/// A value of the parameter at a frame of a call.
#[derive(Clone, Copy)]
pub struct Set {
    pub frame: u32,
    pub wet: f64,
}

struct Events(Vec<clap_event_param_value>);

impl Events {
    fn new(sets: &[Set]) -> Self {
        let event = |set: &Set| clap_event_param_value {
            header: clap_event_header {
                size: std::mem::size_of::<clap_event_param_value>() as u32,
                time: set.frame,
                space_id: CLAP_CORE_EVENT_SPACE_ID,
                type_: CLAP_EVENT_PARAM_VALUE,
                flags: 0,
            },
            param_id: 1,
            cookie: ptr::null_mut(),
            note_id: -1,
            port_index: -1,
            channel: -1,
            key: -1,
            value: set.wet,
        };
        Events(sets.iter().map(event).collect())
    }

    fn raw(&self) -> clap_input_events {
        clap_input_events {
            ctx: self as *const _ as *mut c_void,
            size: Some(event_count),
            get: Some(event_at),
        }
    }
}

unsafe extern "C" fn event_count(list: *const clap_input_events) -> u32 {
    let events = &*((*list).ctx as *const Events);
    events.0.len() as u32
}

unsafe extern "C" fn event_at(
    list: *const clap_input_events,
    index: u32,
) -> *const clap_event_header {
    let events = &*((*list).ctx as *const Events);
    &events.0[index as usize].header
}

/// An instance of the plugin, and its host.
pub struct Instance {
    pub plugin: *const clap_plugin,
    _host: Box<clap_host>,
    pub requests: Box<Requests>,
    is_active: bool,
}

impl Instance {
    pub fn new(channels: usize) -> Self {
        Instance::with_model(channels, None)
    }

    /// With a model in the environment.
    pub fn with_model(channels: usize, model: Option<&Path>) -> Self {
        let _lock = one_at_a_time();
        match model {
            Some(path) => std::env::set_var("SEQUENCE_LAYERS_CLAP_MODEL", path),
            None => std::env::remove_var("SEQUENCE_LAYERS_CLAP_MODEL"),
        }
        let requests = Box::new(Requests::default());
        let name = b"test\0".as_ptr() as *const c_char;
        let host = Box::new(clap_host {
            clap_version: CLAP_VERSION,
            host_data: &*requests as *const Requests as *mut c_void,
            name,
            vendor: name,
            url: name,
            version: name,
            get_extension: Some(host_extension),
            request_restart: Some(request_restart),
            request_process: Some(request_process),
            request_callback: Some(request_callback),
        });
        let id = ["sequence-layers.mono", "sequence-layers.stereo"][channels - 1];
        let id = CString::new(id).unwrap();
        // SAFETY: the host lives as long as the instance.
        let plugin = unsafe {
            let plugin = factory().create_plugin.unwrap()(factory(), &*host, id.as_ptr());
            assert!(!plugin.is_null());
            assert!((*plugin).init.unwrap()(plugin));
            plugin
        };
        Instance {
            plugin,
            _host: host,
            requests,
            is_active: false,
        }
    }

    pub fn extension<T>(&self, id: &CStr) -> &T {
        // SAFETY: the id says what the pointer is.
        unsafe {
            let found = (*self.plugin).get_extension.unwrap()(self.plugin, id.as_ptr());
            assert!(!found.is_null(), "{:?}", id);
            &*(found as *const T)
        }
    }

    pub fn load(&self, model: &Path) -> bool {
        let presets = self.extension::<clap_plugin_preset_load>(CLAP_EXT_PRESET_LOAD);
        let path = CString::new(model.to_str().unwrap()).unwrap();
        // SAFETY: on the main thread.
        unsafe { presets.from_location.unwrap()(self.plugin, 0, path.as_ptr(), ptr::null()) }
    }

    /// Loads a model and waits until the worker has it.
    pub fn load_and_wait(&self, model: &Path) {
        let before = self.requests.processes.load(Ordering::SeqCst);
        assert!(self.load(model));
        self.wait_for("the model", |requests| {
            requests.processes.load(Ordering::SeqCst) > before
        });
    }

    pub fn wait_for(&self, what: &str, is_there: impl Fn(&Requests) -> bool) {
        let start = Instant::now();
        while !is_there(&self.requests) {
            let log = self.requests.log.lock().unwrap();
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "no {}: {:?}",
                what,
                log
            );
            drop(log);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub fn activate(&mut self, rate: f64) {
        // SAFETY: on the main thread, while the plugin is not active.
        unsafe {
            let plugin = &*self.plugin;
            assert!(plugin.activate.unwrap()(plugin, rate, 1, MAX_FRAMES as u32));
            assert!(plugin.start_processing.unwrap()(plugin));
        }
        self.is_active = true;
    }

    pub fn deactivate(&mut self) {
        // SAFETY: on the main thread, while the plugin is active.
        unsafe {
            (*self.plugin).stop_processing.unwrap()(self.plugin);
            (*self.plugin).deactivate.unwrap()(self.plugin);
        }
        self.is_active = false;
    }

    pub fn reset(&self) {
        // SAFETY: no other thread plays.
        unsafe { (*self.plugin).reset.unwrap()(self.plugin) }
    }

    /// Does what the plugin asked the main thread for.
    pub fn idle(&self) {
        if self.requests.callbacks.swap(0, Ordering::SeqCst) > 0 {
            // SAFETY: on the main thread.
            unsafe { (*self.plugin).on_main_thread.unwrap()(self.plugin) }
        }
    }

    pub fn latency(&self) -> usize {
        let latency = self.extension::<clap_plugin_latency>(CLAP_EXT_LATENCY);
        // SAFETY: on the main thread.
        unsafe { latency.get.unwrap()(self.plugin) as usize }
    }

    /// Plays one call, and returns the forbidden calls that the audio thread made. The output may be the memory of the
    /// input.
    pub fn process(
        &self,
        input: &[*mut f32],
        output: &[*mut f32],
        frames: usize,
        sets: &[Set],
    ) -> usize {
        let buffer = |channels: &[*mut f32]| clap_audio_buffer {
            data32: channels.as_ptr().cast(),
            data64: ptr::null(),
            channel_count: channels.len() as u32,
            latency: 0,
            constant_mask: 0,
        };
        let (input, mut output) = (buffer(input), buffer(output));
        let events = Events::new(sets);
        let events = events.raw();
        let call = clap_process {
            steady_time: -1,
            frames_count: frames as u32,
            transport: ptr::null(),
            audio_inputs: &input,
            audio_outputs: &mut output,
            audio_inputs_count: 1,
            audio_outputs_count: 1,
            in_events: &events,
            out_events: ptr::null(),
        };
        // SAFETY: all that the call points to is alive.
        let play = || unsafe { (*self.plugin).process.unwrap()(self.plugin, &call) };
        let (status, forbidden) = watch::watched(play);
        assert_eq!(status, CLAP_PROCESS_CONTINUE);
        forbidden
    }

    /// Plays all of the input in calls of changing sizes, every other one in place.
    pub fn play(&self, input: &[Vec<f32>], sizes: &[usize], sets: &[Set]) -> Vec<Vec<f32>> {
        let len = input[0].len();
        let mut output: Vec<Vec<f32>> = input.iter().map(|c| vec![0.0; c.len()]).collect();
        let mut begin = 0;
        for (call, &size) in sizes.iter().cycle().enumerate() {
            let size = size.min(len - begin);
            let in_call = |set: &&Set| (begin..begin + size).contains(&(set.frame as usize));
            let shifted = |set: &Set| Set {
                frame: set.frame - begin as u32,
                ..*set
            };
            let sets: Vec<Set> = sets.iter().filter(in_call).map(shifted).collect();
            let at = |channel: &mut Vec<f32>| channel[begin..].as_mut_ptr();
            let mut copies = input.to_vec();
            let from: Vec<*mut f32> = if call % 2 == 0 {
                for (output, input) in output.iter_mut().zip(input) {
                    output[begin..begin + size].copy_from_slice(&input[begin..begin + size]);
                }
                output.iter_mut().map(at).collect()
            } else {
                copies.iter_mut().map(at).collect()
            };
            let to: Vec<*mut f32> = output.iter_mut().map(at).collect();
            let forbidden = self.process(&from, &to, size, &sets);
            assert_eq!(
                forbidden, 0,
                "heap or locks in call {} of {} frames",
                call, size
            );
            begin += size;
            if begin == len {
                return output;
            }
        }
        unreachable!("sizes end")
    }

    /// Sets the parameter outside of a call.
    pub fn flush(&self, sets: &[Set]) {
        let events = Events::new(sets);
        let params = self.extension::<clap_plugin_params>(CLAP_EXT_PARAMS);
        // SAFETY: on the main thread, while no other one plays.
        unsafe { params.flush.unwrap()(self.plugin, &events.raw(), ptr::null()) }
    }

    pub fn save(&self) -> Vec<u8> {
        let mut out: Vec<u8> = Vec::new();
        let stream = clap_ostream {
            ctx: &mut out as *mut Vec<u8> as *mut c_void,
            write: Some(write),
        };
        let state = self.extension::<clap_plugin_state>(CLAP_EXT_STATE);
        // SAFETY: on the main thread.
        assert!(unsafe { state.save.unwrap()(self.plugin, &stream) });
        out
    }

    pub fn restore(&self, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        let stream = clap_istream {
            ctx: &mut rest as *mut &[u8] as *mut c_void,
            read: Some(read),
        };
        let state = self.extension::<clap_plugin_state>(CLAP_EXT_STATE);
        // SAFETY: on the main thread.
        unsafe { state.load.unwrap()(self.plugin, &stream) }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if self.is_active {
            self.deactivate();
        }
        // SAFETY: on the main thread, and nobody uses it any more.
        unsafe { (*self.plugin).destroy.unwrap()(self.plugin) }
    }
}

/// Writes a few bytes a call, as a host may.
unsafe extern "C" fn write(stream: *const clap_ostream, bytes: *const c_void, size: u64) -> i64 {
    let out = &mut *((*stream).ctx as *mut Vec<u8>);
    let count = size.min(7) as usize;
    out.extend(std::slice::from_raw_parts(bytes.cast::<u8>(), count));
    count as i64
}

unsafe extern "C" fn read(stream: *const clap_istream, bytes: *mut c_void, size: u64) -> i64 {
    let rest = &mut *((*stream).ctx as *mut &[u8]);
    let count = rest.len().min(5).min(size as usize);
    ptr::copy_nonoverlapping(rest.as_ptr(), bytes.cast::<u8>(), count);
    *rest = &rest[count..];
    count as i64
}

/// A model directory with that config, and if wanted a sample rate in its metadata.
pub fn model(name: &str, config: &str, sample_rate: Option<u32>) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    replace(&folder.join("config.json"), config.as_bytes());
    if let Some(rate) = sample_rate {
        let header = format!(r#"{{"__metadata__":{{"sample_rate":"{}"}}}}"#, rate);
        let mut image = (header.len() as u64).to_le_bytes().to_vec();
        image.extend(header.bytes());
        replace(&folder.join("model.safetensors"), &image);
    }
    folder
}

/// Writes a file that other tests may be reading.
fn replace(path: &Path, bytes: &[u8]) {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::SeqCst);
    let new = path.with_extension(format!("{}.new", number));
    std::fs::write(&new, bytes).unwrap();
    std::fs::rename(&new, path).unwrap();
}

/// A sine in each channel, of other frequencies.
pub fn sines(channels: usize, frames: usize) -> Vec<Vec<f32>> {
    let sine = |channel: usize| {
        let step = std::f64::consts::TAU * (200.0 + 70.0 * channel as f64) / RATE;
        (0..frames)
            .map(|i| (0.5 * (step * i as f64).sin()) as f32)
            .collect()
    };
    (0..channels).map(sine).collect()
}

/// The largest step from one sample to the next.
pub fn roughness(samples: &[f32]) -> f32 {
    let steps = samples.windows(2).map(|pair| (pair[1] - pair[0]).abs());
    steps.fold(0.0, f32::max)
}
