//! Models that are loaded, played and exchanged, without a word of CLAP.
//!
//! Three threads take part. The main thread asks for models. The worker opens them, and makes a pipe of each for the rate at
//! which the plugin is active. The audio thread takes that pipe, fades to it, and leaves the old one for the main thread to
//! drop. The audio thread and the others meet in atomic values only.

use crate::host::Host;
use sequence_layers::{Error, Layer, Pipe, PipeOptions};
use std::path::{Path, PathBuf};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{channel, Sender};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{spawn, JoinHandle};

/// The rate and sizes with which the host activated the plugin.
#[derive(Clone, Copy)]
pub struct Audio {
    pub rate: f64,
    pub max_frames: usize,
    pub channels: usize,
}

/// A pipe on its way from one thread to another.
struct Mailbox(AtomicPtr<Pipe>);

impl Mailbox {
    fn new() -> Self {
        Mailbox(AtomicPtr::new(ptr::null_mut()))
    }

    fn put(&self, pipe: Option<Box<Pipe>>) -> Option<Box<Pipe>> {
        let new = pipe.map_or(ptr::null_mut(), Box::into_raw);
        let old = self.0.swap(new, Ordering::AcqRel);
        // SAFETY: it came from `into_raw`, and the swap made it ours alone.
        (!old.is_null()).then(|| unsafe { Box::from_raw(old) })
    }

    fn take(&self) -> Option<Box<Pipe>> {
        self.put(None)
    }

    fn is_empty(&self) -> bool {
        self.0.load(Ordering::Acquire).is_null()
    }
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        self.take();
    }
}

/// Shared by the main thread and the worker under a lock. The audio thread does not look at it.
#[derive(Default)]
struct Wish {
    /// Counts what was asked for, so that an older model that is opened later is not played.
    number: u64,
    path: Option<PathBuf>,
    /// The model of that path, once it is open; none: the input is heard as it is.
    layer: Option<Layer>,
    audio: Option<Audio>,
}

pub struct Shared {
    wish: Mutex<Wish>,
    /// For the audio thread.
    next: Mailbox,
    /// From the audio thread, to be dropped.
    retired: Mailbox,
    /// Frames by which the pipe that plays is late.
    latency: AtomicU32,
    latency_changed: AtomicBool,
    /// Share of the model in the output, as the bits of an f64.
    wet: AtomicU64,
    host: Host,
}

impl Shared {
    /// The lock, also after a panic of another holder: what it guards is whole between any two lines.
    fn wish(&self) -> MutexGuard<'_, Wish> {
        self.wish
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    pub fn wet(&self) -> f64 {
        f64::from_bits(self.wet.load(Ordering::Relaxed))
    }

    /// Real-time safe.
    pub fn set_wet(&self, wet: f64) {
        if wet.is_finite() {
            let bits = wet.clamp(0.0, 1.0).to_bits();
            self.wet.store(bits, Ordering::Relaxed);
        }
    }

    fn dry(&self) -> f32 {
        (1.0 - self.wet()) as f32
    }

    pub fn latency(&self) -> u32 {
        self.latency.load(Ordering::Relaxed)
    }

    fn pipe(&self, layer: Option<&Layer>, audio: &Audio) -> Result<Pipe, Error> {
        let options = PipeOptions::new()
            .host_rate(audio.rate)
            .host_channels(audio.channels)
            .max_frames(audio.max_frames)
            .dry(self.dry());
        match layer {
            Some(layer) => Pipe::new(layer, &options),
            None => Pipe::new(&Layer::from_config(r#"{"type": "Identity"}"#)?, &options),
        }
    }

    /// Opens a model and, if the plugin is active, has the audio thread fade to it.
    fn open(&self, number: u64, path: Option<&Path>) {
        let opened = path.map(Layer::open).transpose();
        let mut wish = self.wish();
        if wish.number != number {
            return;
        }
        let exchanged = opened.and_then(|layer| {
            if let Some(audio) = &wish.audio {
                let pipe = self.pipe(layer.as_ref(), audio)?;
                self.next.put(Some(Box::new(pipe)));
            }
            wish.layer = layer;
            Ok(())
        });
        match (exchanged, path) {
            (Ok(()), _) => self.host.request_process(),
            (Err(error), Some(path)) => {
                self.host
                    .log_error(&format!("{}: {}", path.display(), error));
            }
            (Err(error), None) => self.host.log_error(&error.to_string()),
        }
    }
}

/// The main thread's side.
pub struct Engine {
    pub shared: Arc<Shared>,
    requests: Option<Sender<(u64, Option<PathBuf>)>>,
    worker: Option<JoinHandle<()>>,
}

impl Engine {
    pub fn new(host: Host) -> Self {
        let shared = Arc::new(Shared {
            wish: Mutex::new(Wish::default()),
            next: Mailbox::new(),
            retired: Mailbox::new(),
            latency: AtomicU32::new(0),
            latency_changed: AtomicBool::new(false),
            wet: AtomicU64::new(1f64.to_bits()),
            host,
        });
        let (requests, received) = channel::<(u64, Option<PathBuf>)>();
        let for_worker = shared.clone();
        let worker = spawn(move || {
            for (number, path) in received {
                for_worker.open(number, path.as_deref());
            }
        });
        Engine {
            shared,
            requests: Some(requests),
            worker: Some(worker),
        }
    }

    /// Asks for the model of a directory; none: the input is heard as it is. Until it is there, the present one plays on,
    /// and if it cannot be opened, for good.
    pub fn load(&self, path: Option<PathBuf>) {
        let number = {
            let mut wish = self.shared.wish();
            wish.number += 1;
            wish.path = path.clone();
            wish.number
        };
        if let Some(requests) = &self.requests {
            // The worker ends after the sender only.
            let _ = requests.send((number, path));
        }
    }

    pub fn host(&self) -> &Host {
        &self.shared.host
    }

    /// The directory that was asked for last.
    pub fn path(&self) -> Option<PathBuf> {
        self.shared.wish().path.clone()
    }

    /// Makes what the audio thread plays with. A model that cannot be played at that rate or with these channels is reported
    /// to the host, and the input is heard instead.
    pub fn activate(&self, audio: Audio) -> Result<Player, Error> {
        let shared = &self.shared;
        let mut wish = shared.wish();
        let pipe = match shared.pipe(wish.layer.as_ref(), &audio) {
            Err(error) if wish.layer.is_some() => {
                shared.host.log_error(&error.to_string());
                shared.pipe(None, &audio)
            }
            made => made,
        }?;
        wish.audio = Some(audio);
        let player = Player {
            pipe,
            shared: shared.clone(),
        };
        if player.note_latency() {
            shared.host.latency_changed();
        }
        Ok(player)
    }

    pub fn deactivate(&self, player: Player) {
        let mut wish = self.shared.wish();
        wish.audio = None;
        drop(player);
        self.shared.next.take();
        self.shared.retired.take();
    }

    /// Does what the audio thread left to do.
    pub fn on_main_thread(&self) {
        self.shared.retired.take();
        if self.shared.latency_changed.swap(false, Ordering::AcqRel) {
            // The host asks for the latency when it activates the plugin anew.
            self.shared.host.request_restart();
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.requests = None; // which ends the worker
        if let Some(worker) = self.worker.take() {
            // Its panic, if any, was printed.
            let _ = worker.join();
        }
    }
}

/// The audio thread's side, all of it real-time safe.
pub struct Player {
    pipe: Pipe,
    shared: Arc<Shared>,
}

impl Player {
    /// Whether the latency is another than the one that was noted before.
    fn note_latency(&self) -> bool {
        let latency = u32::try_from(self.pipe.latency()).unwrap_or(u32::MAX);
        self.shared.latency.swap(latency, Ordering::Relaxed) != latency
    }

    /// Takes a model that the worker has put down, and puts down one that is no longer heard.
    pub fn exchange_models(&mut self) {
        let shared = &self.shared;
        if !shared.retired.is_empty() {
            return; // until the main thread has dropped it
        }
        if let Some(retired) = self.pipe.take_retired() {
            shared.retired.put(Some(retired));
            shared.host.request_callback();
            return;
        }
        if self.pipe.is_fading() {
            return;
        }
        if let Some(next) = shared.next.take() {
            match self.pipe.swap(next) {
                Ok(()) => {
                    if self.note_latency() {
                        shared.latency_changed.store(true, Ordering::Release);
                        shared.host.request_callback();
                    }
                }
                Err(refused) => {
                    shared.retired.put(Some(refused.pipe));
                    shared.host.request_callback();
                }
            }
        }
    }

    /// Plays some frames, and returns whether it could.
    ///
    /// # Safety
    /// As `Pipe::process_raw`.
    pub unsafe fn play(
        &mut self,
        input: *const *const f32,
        output: *const *mut f32,
        frames: usize,
    ) -> bool {
        // The number is one that the pipe takes.
        let _ = self.pipe.set_dry(self.shared.dry());
        self.pipe.process_raw(input, output, frames).is_ok()
    }

    pub fn reset(&mut self) {
        // Nothing is known to fail here; if it did, playing would tell.
        let _ = self.pipe.reset();
    }
}
