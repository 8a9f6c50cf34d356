//! Streams of tokens that a model chooses.

use crate::constants::Constants;
use crate::error::{check, make, to_i64, Result};
use crate::layer::Layer;
use crate::run::Run;
use crate::state::{fewer_slots, SlotNumbers};
use crate::sys;
use crate::view::{View, ViewMut};
use std::fmt;
use std::ptr::{self, NonNull};

/// How a decoder chooses.
#[derive(Clone, Copy, Default)]
pub struct DecoderOptions<'a> {
    raw: sys::sl_decoder_options,
    guidance: &'a [f32],
    constants: Option<&'a Constants<'a>>,
}

impl<'a> DecoderOptions<'a> {
    /// One stream that starts with token 0, has no stop token and no end, and takes the most likely token.
    pub fn new() -> Self {
        DecoderOptions::default()
    }

    /// The first input: a token that the model's first layer knows.
    pub fn start_token(mut self, token: i32) -> Self {
        self.raw.start_token = token;
        self
    }

    /// A token that ends its stream, as its last one.
    pub fn stop_token(mut self, token: i32) -> Self {
        self.raw.stop_token = token;
        self.raw.stop_at_zero = i32::from(token == 0);
        self
    }

    /// The token of a stream that has ended: any number, never an input.
    pub fn pad_token(mut self, token: i32) -> Self {
        self.raw.pad_token = token;
        self
    }

    /// Streams that step together.
    pub fn batch(mut self, batch: usize) -> Self {
        self.raw.batch = to_i64(batch);
        self
    }

    /// Seed of the random choices.
    pub fn seed(mut self, seed: u64) -> Self {
        self.raw.seed = seed;
        self
    }

    /// Divides the logits; 0: always the most likely token, the first of equals.
    pub fn temperature(mut self, temperature: f32) -> Self {
        self.raw.temperature = temperature;
        self
    }

    /// Chooses among the most likely tokens that together have this probability; 0: among all.
    pub fn top_p(mut self, top_p: f32) -> Self {
        self.raw.top_p = top_p;
        self
    }

    /// Chooses among this many of the most likely tokens; 0: among all.
    pub fn top_k(mut self, top_k: usize) -> Self {
        self.raw.top_k = to_i64(top_k);
        self
    }

    /// Maximum of tokens, prompts included.
    pub fn max_length(mut self, max_length: usize) -> Self {
        self.raw.max_length = to_i64(max_length);
        self
    }

    /// The constants of the stream, of which only the shapes are read, for steps of one.
    pub fn constants(mut self, constants: &'a Constants<'a>) -> Self {
        self.constants = Some(constants);
        self
    }

    /// How far each negative pushes the logits, if steps have several tokens: at most 8 numbers. The batch of the constants is
    /// then `batch * (1 + guidance.len())`, each stream followed by its negatives.
    pub fn guidance(mut self, guidance: &'a [f32]) -> Self {
        self.guidance = guidance;
        self
    }

    /// A struct that points to the guidance and the constants.
    fn raw(&self) -> sys::sl_decoder_options {
        let mut raw = self.raw;
        raw.guidance = self.guidance.as_ptr();
        raw.num_negatives = to_i64(self.guidance.len());
        if let Some(constants) = self.constants {
            let (pointer, count) = constants.raw();
            raw.constants = pointer;
            raw.num_constants = count;
        }
        raw
    }
}

impl fmt::Debug for DecoderOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.raw.fmt(f)
    }
}

/// The choices of one step of a decoder, for each stream of the batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Choice<'a> {
    /// The tokens; of a stream that has ended, the pad token. Flat: [`Decoder::step_tokens`] of each stream.
    pub tokens: &'a [i32],
    /// The model's own log probabilities of them; of a stream that has ended, 0. Flat, as the tokens.
    pub log_probs: &'a [f32],
    /// 1, or 0 for a stream that has ended.
    pub mask: &'a [u8],
}

/// A batch of streams of tokens in which the choices of a model are its next inputs. The model makes logits, float32
/// `[batch, time, vocabulary]`, of tokens, int32 `[batch, time]`. It is used by one thread at a time.
///
/// ```
/// use sequence_layers::{Decoder, DecoderOptions, Layer, LayerOptions, Run, View, Weights};
///
/// // A model that prefers the token after the last one: logits are rows of a table.
/// let mut table = [0f32; 9];
/// for token in 0..3 {
///     table[token * 3 + (token + 1) % 3] = 5.0;
/// }
/// let mut weights = Weights::new()?;
/// weights.add("params.embedding", &View::array(&table, &[3, 3])?)?;
/// let config = r#"{"type": "Embedding", "dimension": 3, "num_embeddings": 3}"#;
/// let layer = Layer::create(config, Some(&weights), &LayerOptions::new())?;
///
/// let mut decoder = Decoder::new(&layer, &DecoderOptions::new().start_token(0))?;
/// let mut tokens = Vec::new();
/// for _ in 0..4 {
///     tokens.push(decoder.sample(Run::new())?.tokens[0]);
/// }
/// assert_eq!(tokens, [1, 2, 0, 1]);
/// # Ok::<(), sequence_layers::Error>(())
/// ```
pub struct Decoder {
    handle: NonNull<sys::sl_decoder>,
    _layer: Layer,
    tokens: Vec<i32>,
    log_probs: Vec<f32>,
    mask: Vec<u8>,
    step_tokens: usize,
    slots: SlotNumbers,
}

// SAFETY: one thread at a time uses a decoder, which may be another each time. It is not `Sync`.
unsafe impl Send for Decoder {}

impl Decoder {
    /// A decoder at the start of its streams.
    ///
    /// # Errors
    /// [`Status`](crate::Status)`::Shape` if the model does not make logits of tokens, `Unsupported` if it cannot step or
    /// has latency, `InvalidArgument` also for a start or stop token that the model lacks.
    pub fn new(layer: &Layer, options: &DecoderOptions<'_>) -> Result<Self> {
        let raw = options.raw();
        // SAFETY: all pointers are valid.
        let handle =
            make(|out, error| unsafe { sys::sl_decoder_create(layer.as_ptr(), &raw, out, error) })?;
        let batch = usize::try_from(raw.batch).unwrap_or(0).max(1);
        let mut decoder = Decoder {
            handle,
            _layer: layer.clone(),
            tokens: Vec::new(),
            log_probs: Vec::new(),
            mask: vec![0; batch],
            step_tokens: 1,
            slots: SlotNumbers::new(batch),
        };
        // SAFETY: the handle is valid.
        let step_tokens = unsafe { sys::sl_decoder_step_tokens(decoder.as_ptr()) };
        decoder.step_tokens = usize::try_from(step_tokens).expect("a decoder has tokens");
        decoder.tokens = vec![0; batch * decoder.step_tokens];
        decoder.log_probs = vec![0.0; batch * decoder.step_tokens];
        Ok(decoder)
    }

    /// The number of tokens of a step of one stream: 1, but for a model whose outermost layer is a `MultivariateDecoder`.
    /// Where it is more, prompts and given tokens are int32 `[batch, time, step_tokens]`.
    pub fn step_tokens(&self) -> usize {
        self.step_tokens
    }

    /// Appends a prompt, without the start token: continues as if `tokens`, int32 `[batch, time]`, had been sampled.
    /// Invalid tokens count as absent. Not real-time safe. After an error the decoder is as before.
    ///
    /// # Errors
    /// [`Status`](crate::Status)`::Shape`, `InvalidArgument` also for a token that the model's first layer does not know,
    /// `Length`, `Callback`.
    pub fn prefill(&mut self, tokens: &View<'_>, run: Run<'_>) -> Result<()> {
        // SAFETY: all pointers are valid, and `&mut self` is the only user.
        check(|error| unsafe {
            sys::sl_decoder_prefill(self.as_ptr(), tokens.raw(), run.raw(), error)
        })
    }

    /// Runs one step: the next token of each stream. Real-time safe unless it fails.
    ///
    /// # Errors
    /// [`Status`](crate::Status)`::Length` past the `max_length`, `Callback`, `Unsupported` if the logits of a stream hold
    /// a NaN or are all minus infinity.
    pub fn sample(&mut self, run: Run<'_>) -> Result<Choice<'_>> {
        let handle = self.as_ptr();
        let (tokens, log_probs) = (self.tokens.as_mut_ptr(), self.log_probs.as_mut_ptr());
        let mask = self.mask.as_mut_ptr();
        // SAFETY: the buffers have an entry for each stream, or for each of its tokens, and `&mut self` is the only user.
        check(|error| unsafe {
            sys::sl_decoder_sample(handle, tokens, log_probs, mask, run.raw(), error)
        })?;
        Ok(self.choice(self.mask.len()))
    }

    fn choice(&self, count: usize) -> Choice<'_> {
        Choice {
            tokens: &self.tokens[..count * self.step_tokens],
            log_probs: &self.log_probs[..count * self.step_tokens],
            mask: &self.mask[..count],
        }
    }

    /// Sets one stream of the batch to its start, with choices of its own: all options but batch, maximum of tokens and
    /// constants. It then gives what a decoder of batch 1 with these options gives, bit for bit, whatever runs beside it.
    /// Without options it starts as [`reset`](Decoder::reset) sets it. Real-time safe.
    ///
    /// # Errors
    /// As [`new`](Decoder::new), [`Status`](crate::Status)`::InvalidArgument` if there is no such slot. The slot is then as
    /// before.
    pub fn start_slot(&mut self, slot: usize, options: Option<&DecoderOptions<'_>>) -> Result<()> {
        let raw = options.map(DecoderOptions::raw);
        let pointer = raw.as_ref().map_or(ptr::null(), |raw| raw as *const _);
        // SAFETY: all pointers are valid, and `&mut self` is the only user.
        check(|error| unsafe {
            sys::sl_decoder_start_slot(self.as_ptr(), to_i64(slot), pointer, error)
        })
    }

    /// Appends a prompt to one stream: tokens and constants have a batch of 1. Not real-time safe.
    ///
    /// # Errors
    /// As [`prefill`](Decoder::prefill), [`Status`](crate::Status)`::InvalidArgument` if there is no such slot.
    pub fn prefill_slot(&mut self, slot: usize, tokens: &View<'_>, run: Run<'_>) -> Result<()> {
        let slot = to_i64(slot);
        // SAFETY: all pointers are valid, and `&mut self` is the only user.
        check(|error| unsafe {
            sys::sl_decoder_prefill_slot(self.as_ptr(), slot, tokens.raw(), run.raw(), error)
        })
    }

    /// The next token of some of the streams, the items of the batch that `slots` names, each once and in any order: the
    /// choice and constants have their items in that order. All other streams stay as they are. Real-time safe unless it
    /// fails.
    ///
    /// # Errors
    /// As [`sample`](Decoder::sample), [`Status`](crate::Status)`::InvalidArgument` for a slot that does not exist or is
    /// named twice.
    pub fn sample_slots(&mut self, slots: &[usize], run: Run<'_>) -> Result<Choice<'_>> {
        let handle = self.as_ptr();
        let (numbers, count) = self.slots.set(slots).map_err(fewer_slots)?;
        let (tokens, log_probs) = (self.tokens.as_mut_ptr(), self.log_probs.as_mut_ptr());
        let (mask, run) = (self.mask.as_mut_ptr(), run.raw());
        // SAFETY: the buffers have an entry for each stream, or for each of its tokens, and `&mut self` is the only user.
        check(|error| unsafe {
            sys::sl_decoder_sample_slots(
                handle, numbers, count, tokens, log_probs, mask, run, error,
            )
        })?;
        Ok(self.choice(slots.len()))
    }

    /// Makes one stream continue where one of `source` stands, with the choices of that one, seed included. The batches may
    /// differ. Real-time safe.
    ///
    /// # Errors
    /// As [`State::copy_item_from`](crate::State::copy_item_from).
    pub fn copy_slot_from(
        &mut self,
        slot: usize,
        source: &Decoder,
        source_slot: usize,
    ) -> Result<()> {
        let (slot, source_slot) = (to_i64(slot), to_i64(source_slot));
        // SAFETY: as in `copy_from`.
        check(|error| unsafe {
            sys::sl_decoder_copy_slot(self.as_ptr(), slot, source.as_ptr(), source_slot, error)
        })
    }

    /// As [`copy_slot_from`](Decoder::copy_slot_from), from another stream of this decoder. Real-time safe.
    ///
    /// # Errors
    /// [`Status`](crate::Status)`::InvalidArgument` if there is no such slot.
    pub fn copy_slot_within(&mut self, slot: usize, source_slot: usize) -> Result<()> {
        let (slot, source_slot) = (to_i64(slot), to_i64(source_slot));
        // SAFETY: `&mut self` is the only user.
        check(|error| unsafe {
            sys::sl_decoder_copy_slot(self.as_ptr(), slot, self.as_ptr(), source_slot, error)
        })
    }

    /// Bytes that a saved slot takes.
    pub fn save_slot_size(&self) -> usize {
        // SAFETY: the handle is valid.
        unsafe { sys::sl_decoder_save_slot_size(self.as_ptr()) }
    }

    /// One stream with its choices as bytes, for any slot of a decoder of the same model, constants and maximum of tokens.
    ///
    /// # Errors
    /// [`Status`](crate::Status)`::InvalidArgument` if there is no such slot.
    pub fn save_slot(&self, slot: usize) -> Result<Vec<u8>> {
        let mut out = vec![0; self.save_slot_size()];
        self.save_slot_into(slot, &mut out)?;
        Ok(out)
    }

    /// As [`save_slot`](Decoder::save_slot), into the caller's buffer of at least
    /// [`save_slot_size`](Decoder::save_slot_size) bytes. Real-time safe.
    ///
    /// # Errors
    /// [`Status`](crate::Status)`::InvalidArgument` also for a buffer that is too small.
    pub fn save_slot_into(&self, slot: usize, buffer: &mut [u8]) -> Result<()> {
        let (pointer, size) = (buffer.as_mut_ptr().cast(), buffer.len());
        // SAFETY: all pointers are valid, and a decoder is not `Sync`.
        check(|error| unsafe {
            sys::sl_decoder_save_slot(self.as_ptr(), to_i64(slot), pointer, size, error)
        })
    }

    /// Makes one stream continue where the saved one stood; the others continue as they are. Real-time safe.
    ///
    /// # Errors
    /// As [`State::load_item`](crate::State::load_item).
    pub fn load_slot(&mut self, slot: usize, saved: &[u8]) -> Result<()> {
        let (pointer, size) = (saved.as_ptr().cast(), saved.len());
        // SAFETY: all pointers are valid, and `&mut self` is the only user.
        check(|error| unsafe {
            sys::sl_decoder_load_slot(self.as_ptr(), to_i64(slot), pointer, size, error)
        })
    }

    /// Log probabilities of given tokens, int32 `[batch, time]` of any batch, from the start of a sequence, into
    /// `log_probs`, float32 of the same shape. The model runs on them as a whole; the decoder's streams are not touched.
    ///
    /// # Errors
    /// [`Status`](crate::Status)`::Shape`, `InvalidArgument` also for a token that the model lacks, `Unsupported`,
    /// `Callback`.
    pub fn log_prob(
        &self,
        tokens: &View<'_>,
        log_probs: &mut ViewMut<'_>,
        run: Run<'_>,
    ) -> Result<()> {
        // SAFETY: all pointers are valid.
        check(|error| unsafe {
            sys::sl_decoder_log_prob(
                self.as_ptr(),
                tokens.raw(),
                log_probs.raw_mut(),
                run.raw(),
                error,
            )
        })
    }

    /// Makes all streams continue where those of `source` stand, of the same layer, batch and constants. Seed, tokens,
    /// temperature, `top_k`, `top_p` and `max_length` stay its own. Real-time safe.
    ///
    /// # Errors
    /// As [`State::copy_from`](crate::State::copy_from).
    pub fn copy_from(&mut self, source: &Decoder) -> Result<()> {
        // SAFETY: both handles are valid, `&mut self` is the only user of its own, and a decoder is not `Sync`.
        check(|error| unsafe { sys::sl_decoder_copy(self.as_ptr(), source.as_ptr(), error) })
    }

    /// Sets all streams back to their start. Real-time safe.
    ///
    /// # Errors
    /// None are known.
    pub fn reset(&mut self) -> Result<()> {
        // SAFETY: `&mut self` is the only user.
        check(|error| unsafe { sys::sl_decoder_reset(self.as_ptr(), error) })
    }

    fn as_ptr(&self) -> *mut sys::sl_decoder {
        self.handle.as_ptr()
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: the handle is valid, nobody uses it any more, and the layer still lives.
        unsafe { sys::sl_decoder_free(self.as_ptr()) }
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Decoder({} streams)", self.tokens.len())
    }
}
