//! Audio of a host through a model.

use crate::error::{c_enum, check, check_count, make, to_i64, to_usize, Result, Status};
use crate::layer::Layer;
use crate::sys;
use std::fmt;
use std::mem;
use std::ptr::{self, NonNull};

c_enum! {
    /// How channels of a host go through a model.
    PipeChannels {
        /// `Each` for a model that makes one channel of one, `Model` for any other.
        Default = SL_PIPE_CHANNELS_DEFAULT,
        /// A model of one channel hears each of the host's alone, as streams of a batch.
        Each = SL_PIPE_CHANNELS_EACH,
        /// A model of one input channel hears the mean of the host's.
        Mix = SL_PIPE_CHANNELS_MIX,
        /// The model's input channels are the host's.
        Model = SL_PIPE_CHANNELS_MODEL,
    }
}

c_enum! {
    /// How well sample rates are converted.
    PipeQuality {
        /// `Medium`.
        Default = SL_PIPE_QUALITY_DEFAULT,
        /// Noise below -97 dB, passes 80 % of the bandwidth, looks some 20 samples ahead.
        Fast = SL_PIPE_QUALITY_FAST,
        /// -121 dB, 90 %, some 46 samples.
        Medium = SL_PIPE_QUALITY_MEDIUM,
        /// -145 dB, 96 %, some 143 samples.
        Best = SL_PIPE_QUALITY_BEST,
    }
}

/// How audio of a host goes through a model.
#[derive(Clone, Copy, Debug, Default)]
pub struct PipeOptions(sys::sl_pipe_options);

impl PipeOptions {
    /// The model's rate and channels, at most 4096 frames a call, the model alone.
    pub fn new() -> Self {
        PipeOptions::default()
    }

    /// How channels go through the model.
    pub fn channels(mut self, channels: PipeChannels) -> Self {
        self.0.channels = channels.code();
        self
    }

    /// Frames a second of the host. Default: those of the model.
    pub fn host_rate(mut self, rate: f64) -> Self {
        self.0.host_rate = rate;
        self
    }

    /// Steps a second of the model. Default: the `sample_rate` of its metadata, or else those of the host.
    pub fn model_rate(mut self, rate: f64) -> Self {
        self.0.model_rate = rate;
        self
    }

    /// 1 to 128. Default: those of the model.
    pub fn host_channels(mut self, channels: usize) -> Self {
        self.0.host_channels = to_i64(channels);
        self
    }

    /// Maximum of frames in one call, 1 to 2^20.
    pub fn max_frames(mut self, frames: usize) -> Self {
        self.0.max_frames = to_i64(frames);
        self
    }

    /// Frames that the latency is at least, so that models of different latency can be swapped without a change of it.
    pub fn min_latency(mut self, frames: usize) -> Self {
        self.0.min_latency = to_i64(frames);
        self
    }

    /// Frames of a cross-fade after a swap. Default: a fiftieth of a second.
    pub fn fade_frames(mut self, frames: usize) -> Self {
        self.0.fade_frames = to_i64(frames);
        self
    }

    /// Share of the input in the output: see [`Pipe::set_dry`].
    pub fn dry(mut self, dry: f32) -> Self {
        self.0.dry = dry;
        self
    }

    /// How well sample rates are converted.
    pub fn quality(mut self, quality: PipeQuality) -> Self {
        self.0.quality = quality.code();
        self
    }
}

/// A real-time front of a stream for audio hosts: any number of frames a call, at the host's rate and with its channels,
/// and as many out, late by [`latency`](Pipe::latency). It is for models whose input and output are audio: float32, one
/// scalar or a row of channels a step, one output step for each input step. It is used by one thread at a time.
///
/// ```
/// use sequence_layers::{Layer, Pipe, PipeOptions};
///
/// let layer = Layer::from_config(r#"{"type": "Scale", "scale": 0.5}"#)?;
/// let options = PipeOptions::new().host_rate(48000.0).host_channels(2);
/// let mut pipe = Pipe::new(&layer, &options)?;
/// let (left, right) = ([1f32; 64], [2f32; 64]);
/// let (mut left_out, mut right_out) = ([0f32; 64], [0f32; 64]);
/// pipe.process(&[&left, &right], &mut [&mut left_out, &mut right_out])?;
/// assert_eq!(pipe.latency(), 0);
/// assert_eq!((left_out[0], right_out[0]), (0.5, 1.0));
/// # Ok::<(), sequence_layers::Error>(())
/// ```
pub struct Pipe {
    handle: NonNull<sys::sl_pipe>,
    layer: Layer,
    max_frames: usize,
    /// Room for the pointers of a call.
    inputs: Vec<*const f32>,
    outputs: Vec<*mut f32>,
    /// Has the model of before the last swap.
    retired: Option<Box<Pipe>>,
}

// SAFETY: one thread at a time uses a pipe, which may be another each time. It is not `Sync`. The pointers are left from
// calls that have ended.
unsafe impl Send for Pipe {}

/// A swap that was refused: the pipe that was to be swapped in, and why.
#[derive(Debug)]
pub struct SwapError {
    /// The pipe, unchanged.
    pub pipe: Box<Pipe>,
    /// Why.
    pub status: Status,
}

impl fmt::Display for SwapError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the models cannot be exchanged: {}", self.status)
    }
}

impl std::error::Error for SwapError {}

impl Pipe {
    /// A pipe at the start of its stream, of which a step has been rehearsed.
    ///
    /// # Errors
    /// [`Status`]`::Unsupported`, with the reason, for a model that makes no audio of audio, channels that do not fit it,
    /// or rates too far apart; `Weights` if the recorded sample rate cannot be; `Shape`, `Callback`.
    pub fn new(layer: &Layer, options: &PipeOptions) -> Result<Self> {
        // SAFETY: all pointers are valid.
        let create = |out, error: *mut _| unsafe {
            sys::sl_pipe_create(layer.as_ptr(), &options.0, out, error)
        };
        let handle = make(create)?;
        // SAFETY: the handle is valid.
        let channels = to_usize(unsafe { sys::sl_pipe_host_channels(handle.as_ptr()) });
        Ok(Pipe {
            handle,
            layer: layer.clone(),
            max_frames: match options.0.max_frames {
                0 => 4096,
                frames => to_usize(frames),
            },
            inputs: vec![ptr::null(); channels],
            outputs: vec![ptr::null_mut(); channels],
            retired: None,
        })
    }

    /// Takes the next frames, a slice for each channel, and writes as many. Real-time safe, also where it fails.
    ///
    /// # Errors
    /// [`Status`]`::Shape` for another number of channels, or slices of different length; `InvalidArgument` for more than
    /// `max_frames` frames; `Callback`. After an error of the model the output is silence, and every call fails until the
    /// pipe is reset.
    pub fn process(&mut self, input: &[&[f32]], output: &mut [&mut [f32]]) -> Result<(), Status> {
        let frames = input.first().map_or(0, |channel| channel.len());
        let fits = |channels: usize| channels == self.host_channels();
        let is_even = input.iter().all(|channel| channel.len() == frames)
            && output.iter().all(|channel| channel.len() == frames);
        if !fits(input.len()) || !fits(output.len()) || !is_even {
            return Err(Status::Shape);
        }
        for (pointer, channel) in self.inputs.iter_mut().zip(input) {
            *pointer = channel.as_ptr();
        }
        for (pointer, channel) in self.outputs.iter_mut().zip(output) {
            *pointer = channel.as_mut_ptr();
        }
        // SAFETY: as many pointers as channels, each to as many frames.
        unsafe { self.process_raw(self.inputs.as_ptr(), self.outputs.as_ptr(), frames) }
    }

    /// As [`process`](Pipe::process), with what plugin formats give: pointers to each channel. An output may be the memory
    /// of an input.
    ///
    /// # Errors
    /// As [`process`](Pipe::process).
    ///
    /// # Safety
    /// `input` and `output` must point to [`host_channels`](Pipe::host_channels) pointers each, these to `frames` samples
    /// that are readable, and in the output writable by nobody else.
    pub unsafe fn process_raw(
        &mut self,
        input: *const *const f32,
        output: *const *mut f32,
        frames: usize,
    ) -> Result<(), Status> {
        let (handle, frames) = (self.as_ptr(), to_i64(frames));
        quiet(|error| sys::sl_pipe_process(handle, input, output, frames, error))
    }

    /// Ends the input and writes what is still to come, [`latency`](Pipe::latency) frames in all, and returns how many
    /// frames it wrote: 0 when all has come. Real-time safe unless it fails.
    ///
    /// # Errors
    /// [`Status`]`::Shape` for another number of channels, or slices of different length; `Callback`.
    pub fn flush(&mut self, output: &mut [&mut [f32]]) -> Result<usize> {
        let frames = output.first().map_or(0, |channel| channel.len());
        if output.len() != self.host_channels() || output.iter().any(|c| c.len() != frames) {
            return Err(Status::Shape.into());
        }
        for (pointer, channel) in self.outputs.iter_mut().zip(output) {
            *pointer = channel.as_mut_ptr();
        }
        let frames = to_i64(frames.min(self.max_frames));
        // SAFETY: as many pointers as channels, each to as many frames.
        check_count(|error| unsafe {
            sys::sl_pipe_flush(self.as_ptr(), self.outputs.as_ptr(), frames, error)
        })
    }

    /// Sets the pipe back to the start of its stream, and ends a cross-fade. Real-time safe.
    ///
    /// # Errors
    /// None are known.
    pub fn reset(&mut self) -> Result<(), Status> {
        let handle = self.as_ptr();
        // SAFETY: `&mut self` is the only user.
        quiet(|error| unsafe { sys::sl_pipe_reset(handle, error) })
    }

    /// Frames by which the output is late, exactly, at any sizes of calls. Changes with [`swap`](Pipe::swap) only.
    pub fn latency(&self) -> usize {
        // SAFETY: the handle is valid, and a pipe is not `Sync`.
        to_usize(unsafe { sys::sl_pipe_latency(self.as_ptr()) })
    }

    /// Number of channels.
    pub fn host_channels(&self) -> usize {
        self.inputs.len()
    }

    /// Sets the share of the input, late by [`latency`](Pipe::latency), in the output: 0, the model alone, to 1, the
    /// input alone. It gets there within a fiftieth of a second of audio. Real-time safe unless it fails.
    ///
    /// # Errors
    /// [`Status::InvalidArgument`] for another number.
    pub fn set_dry(&self, dry: f32) -> Result<()> {
        // SAFETY: the handle is valid; any thread may call it.
        check(|error| unsafe { sys::sl_pipe_set_dry(self.as_ptr(), dry, error) })
    }

    /// Exchanges the model for that of `next`, which was made for the same rate, channels and frames, and is at its start.
    /// The old model is heard until the new one has had [`latency`](Pipe::latency) frames, and then fades into it. What is
    /// left of it comes back from [`take_retired`](Pipe::take_retired). Real-time safe, also where it fails.
    ///
    /// ```
    /// use sequence_layers::{Layer, Pipe, PipeOptions};
    ///
    /// let options = PipeOptions::new().host_rate(48000.0);
    /// let pipe = |config| Pipe::new(&Layer::from_config(config)?, &options);
    /// let mut playing = pipe(r#"{"type": "Identity"}"#)?;
    /// let next = Box::new(pipe(r#"{"type": "Scale", "scale": 0.5}"#)?); // on another thread
    /// playing.swap(next)?;
    /// let mut out = [0f32; 1000];
    /// while playing.take_retired().is_none() {
    ///     playing.process(&[&[1f32; 1000]], &mut [&mut out])?;
    /// }
    /// assert_eq!(out[999], 0.5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Status::InvalidArgument`] for a pipe of another kind, during a cross-fade, after [`flush`](Pipe::flush), and as
    /// long as the last retired pipe has not been taken.
    pub fn swap(&mut self, mut next: Box<Pipe>) -> Result<(), SwapError> {
        if self.retired.is_some() || next.retired.is_some() {
            let status = Status::InvalidArgument;
            return Err(SwapError { pipe: next, status });
        }
        let handle = self.as_ptr();
        // SAFETY: both handles are valid and used by nobody else; `next` is left alone until the cross-fade ends.
        match quiet(|error| unsafe { sys::sl_pipe_swap(handle, next.as_ptr(), error) }) {
            Ok(()) => {
                mem::swap(&mut self.layer, &mut next.layer);
                self.retired = Some(next);
                Ok(())
            }
            Err(status) => Err(SwapError { pipe: next, status }),
        }
    }

    /// The pipe that has the model of before the last [`swap`](Pipe::swap), once that is no longer heard: to be dropped on
    /// a thread that may free memory. Real-time safe.
    pub fn take_retired(&mut self) -> Option<Box<Pipe>> {
        if self.is_fading() {
            return None;
        }
        self.retired.take()
    }

    /// Whether the model of before the last [`swap`](Pipe::swap) is still heard. Real-time safe.
    pub fn is_fading(&self) -> bool {
        // SAFETY: the handle is valid, and a pipe is not `Sync`.
        unsafe { sys::sl_pipe_is_fading(self.as_ptr()) != 0 }
    }

    /// The model.
    pub fn layer(&self) -> &Layer {
        &self.layer
    }

    fn as_ptr(&self) -> *mut sys::sl_pipe {
        self.handle.as_ptr()
    }
}

/// Calls `call` with no place for a message, so that nothing is allocated even where it fails.
fn quiet(call: impl FnOnce(*mut sys::sl_error) -> i32) -> Result<(), Status> {
    match call(ptr::null_mut()) {
        sys::SL_STATUS_OK => Ok(()),
        status => Err(Status::from_code(status)),
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        // SAFETY: the handle is valid and used by nobody else; what a cross-fade hears of `retired` is freed after it.
        unsafe { sys::sl_pipe_free(self.as_ptr()) }
    }
}

impl fmt::Debug for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Pipe({} channels, late by {})",
            self.host_channels(),
            self.latency()
        )
    }
}
