//! Streams.

use crate::constants::Constants;
use crate::dtype::{DType, Element};
use crate::error::{check, make, optional_str, to_i64, to_usize, Error, Result, Status};
use crate::layer::{Layer, Mode};
use crate::run::{EmitShape, Run};
use crate::shape::ChannelSpec;
use crate::sys;
use crate::view::{Tensor, View, ViewMut};
use std::fmt;
use std::os::raw::c_char;
use std::ptr::{self, NonNull};

/// Sizes and inputs of a stream.
#[derive(Clone, Copy, Default)]
pub struct StateOptions<'a> {
    batch: usize,
    max_steps: usize,
    max_length: usize,
    input: Option<ChannelSpec>,
    constants: Option<&'a Constants<'a>>,
}

impl<'a> StateOptions<'a> {
    /// A batch of one, one block a call, no end, the model's own input spec, no constants.
    pub fn new() -> Self {
        StateOptions::default()
    }

    /// Streams that step together.
    pub fn batch(mut self, batch: usize) -> Self {
        self.batch = batch;
        self
    }

    /// Maximum of input steps in one call, which is rounded up to a multiple of the block size. Default: one block.
    pub fn max_steps(mut self, max_steps: usize) -> Self {
        self.max_steps = max_steps;
        self
    }

    /// Maximum of input steps of the whole stream, latency and padding included. A layer that sees all of the past
    /// needs it, and the state then has room for that much. Default: the stream has no end.
    pub fn max_length(mut self, max_length: usize) -> Self {
        self.max_length = max_length;
        self
    }

    /// Content of a step of x. Default: what [`Layer::input_spec`] says, or else one `f32`.
    pub fn input(mut self, input: ChannelSpec) -> Self {
        self.input = Some(input);
        self
    }

    /// The constants of the stream, of which only the shapes are read. A streamed one has the length that goes with
    /// `max_steps` of x, any other sequence has all of its own.
    pub fn constants(mut self, constants: &'a Constants<'a>) -> Self {
        self.constants = Some(constants);
        self
    }

    /// These options with the input spec of the model if they have none.
    fn resolved(mut self, layer: &Layer) -> Result<Self> {
        if self.input.is_none() {
            self.input = match layer.input_spec() {
                Ok(spec) => Some(spec),
                Err(error) if error.status() == Status::Unsupported => Some(ChannelSpec::default()),
                Err(error) => return Err(error),
            };
        }
        Ok(self)
    }

    /// The struct for C, which borrows the constants.
    fn raw(&self) -> sys::sl_state_options {
        let (constants, num_constants) = self
            .constants
            .map_or((ptr::null(), 0), |constants| constants.raw());
        sys::sl_state_options {
            batch: to_i64(self.batch),
            max_steps: to_i64(self.max_steps),
            max_length: to_i64(self.max_length),
            input: self.input.unwrap_or_default().raw(),
            constants,
            num_constants,
            ..Default::default()
        }
    }
}

impl fmt::Debug for StateOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateOptions")
            .field("batch", &self.batch)
            .field("max_steps", &self.max_steps)
            .field("max_length", &self.max_length)
            .field("input", &self.input)
            .field("constants", &self.constants.map_or(0, Constants::len))
            .finish()
    }
}

pub(crate) fn fewer_slots(_: Status) -> Error {
    Error::invalid("there are fewer slots")
}

/// One stream through a model, or a batch of them. It is used by one thread at a time, which may be another each time.
///
/// Its steps allocate nothing, take no lock and make no system call, unless they fail.
///
/// ```
/// use sequence_layers::{Layer, Run, State, StateOptions, View, ViewMut};
///
/// let layer = Layer::from_config(r#"{"type": "Delay", "length": 1}"#)?;
/// let mut state = State::new(&layer, &StateOptions::new())?;
/// let mut y = [0f32];
/// for sample in [1f32, 2.0, 3.0] {
///     state.step(&View::new(&[sample], &[1, 1])?, &mut ViewMut::new(&mut y, &[1, 1])?, Run::new())?;
///     assert_eq!(y, [sample - 1.0]);
/// }
/// let saved = state.save()?;
/// state.reset()?;
/// state.load(&saved)?;
/// let mut fork = state.fork()?;
/// fork.step(&View::new(&[9f32], &[1, 1])?, &mut ViewMut::new(&mut y, &[1, 1])?, Run::new())?;
/// assert_eq!(y, [3.0]);
/// # Ok::<(), sequence_layers::Error>(())
/// ```
pub struct State {
    handle: NonNull<sys::sl_state>,
    layer: Layer,
    options: StateOptions<'static>,
    constants: Constants<'static>,
    slots: SlotNumbers,
}

/// Room for the numbers of the slots of a call.
pub(crate) struct SlotNumbers(Box<[i64]>);

impl SlotNumbers {
    pub(crate) fn new(batch: usize) -> Self {
        SlotNumbers(vec![0; batch].into())
    }

    /// The numbers as C reads them, and how many they are; an error if they are more than there are slots.
    pub(crate) fn set(&mut self, slots: &[usize]) -> Result<(*const i64, i64), Status> {
        let room = self.0.get_mut(..slots.len());
        let room = room.ok_or(Status::InvalidArgument)?;
        for (number, &slot) in room.iter_mut().zip(slots) {
            *number = to_i64(slot);
        }
        Ok((room.as_ptr(), room.len() as i64))
    }
}

// SAFETY: one thread at a time uses a state, which may be another each time. It is not `Sync`.
unsafe impl Send for State {}

impl State {
    /// A stream at its start. It plans, allocates, touches all its memory and rehearses a step, so that the first step
    /// costs what the thousandth does.
    ///
    /// # Errors
    /// [`Status`]`::Shape`, `Callback`, `Unsupported` if the model cannot step, or only with a `max_length`.
    pub fn new(layer: &Layer, options: &StateOptions<'_>) -> Result<Self> {
        let options = options.resolved(layer)?;
        let raw = options.raw();
        // SAFETY: all pointers are valid.
        let handle =
            make(|out, error| unsafe { sys::sl_state_alloc(layer.as_ptr(), &raw, out, error) })?;
        Ok(State {
            handle,
            layer: layer.clone(),
            slots: SlotNumbers::new(options.batch.max(1)),
            options: StateOptions {
                batch: options.batch.max(1),
                max_steps: options.max_steps,
                max_length: options.max_length,
                input: options.input,
                constants: None,
            },
            constants: options
                .constants
                .map_or_else(Constants::new, Constants::shapes),
        })
    }

    /// Another stream that continues where this one stands.
    ///
    /// # Errors
    /// As [`new`](State::new).
    pub fn fork(&self) -> Result<Self> {
        let options = StateOptions {
            constants: Some(&self.constants),
            ..self.options
        };
        let mut out = State::new(&self.layer, &options)?;
        out.copy_from(self)?;
        Ok(out)
    }

    /// Runs the next block of the stream. `x` has the state's batch and input spec, and a time of at most `max_steps`
    /// that is a multiple of the block size. Real-time safe unless it fails. After an error the
    /// state is as before; but after one of a custom layer's step, reset, load or drop it.
    ///
    /// # Errors
    /// [`Status`]`::Shape`, `Callback`, `Length` past the `max_length`.
    #[inline]
    pub fn step(&mut self, x: &View<'_>, y: &mut ViewMut<'_>, run: Run<'_>) -> Result<()> {
        let layer = self.layer.as_ptr();
        // SAFETY: all pointers are valid, and `&mut self` is the state's only user.
        check(|error| unsafe {
            sys::sl_layer_step(layer, self.as_ptr(), x.raw(), y.raw_mut(), run.raw(), error)
        })
    }

    /// Runs the next block of the stream into a new tensor, which is not real-time safe.
    ///
    /// # Errors
    /// As [`step`](State::step).
    pub fn step_new(&mut self, x: &View<'_>, run: Run<'_>) -> Result<Tensor> {
        let layer = self.layer.clone();
        layer.new_output(Mode::Step, x, run, |y, run| self.step(x, y, run))
    }

    /// Runs the next block of some of the streams, the items of the batch that `slots` names, each once and in any order:
    /// `x`, `y`, constants and emits have their items in that order, but constants may have a batch of 1. All other streams
    /// stay as they are. A stream's output has the bits that it has in a state of its own. Real-time safe unless it fails.
    ///
    /// ```
    /// use sequence_layers::{Layer, Run, State, StateOptions, View, ViewMut};
    ///
    /// let layer = Layer::from_config(r#"{"type": "Delay", "length": 1}"#)?;
    /// let mut state = State::new(&layer, &StateOptions::new().batch(3))?;
    /// let mut y = [0f32; 2];
    /// for (slots, x) in [([2, 0], [1f32, 2.0]), ([0, 1], [3.0, 4.0])] {
    ///     let x = View::new(&x, &[2, 1])?;
    ///     state.step_slots(&slots, &x, &mut ViewMut::new(&mut y, &[2, 1])?, Run::new())?;
    /// }
    /// assert_eq!(y, [2.0, 0.0]); // slot 0 is one step further than slot 1
    /// # Ok::<(), sequence_layers::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`step`](State::step), [`Status::InvalidArgument`] for a slot that does not exist or is named twice.
    pub fn step_slots(
        &mut self,
        slots: &[usize],
        x: &View<'_>,
        y: &mut ViewMut<'_>,
        run: Run<'_>,
    ) -> Result<()> {
        let (numbers, count) = self.set_slots(slots).map_err(fewer_slots)?;
        let (layer, state) = (self.layer.as_ptr(), self.as_ptr());
        let (x, y, run) = (x.raw(), y.raw_mut(), run.raw());
        // SAFETY: all pointers are valid, and `&mut self` is the state's only user.
        check(|error| unsafe {
            sys::sl_layer_step_slots(layer, state, numbers, count, x, y, run, error)
        })
    }

    pub(crate) fn set_slots(&mut self, slots: &[usize]) -> Result<(*const i64, i64), Status> {
        self.slots.set(slots)
    }

    /// Runs the next block of some of the streams into a new tensor, which is not real-time safe.
    ///
    /// # Errors
    /// As [`step_slots`](State::step_slots).
    pub fn step_slots_new(
        &mut self,
        slots: &[usize],
        x: &View<'_>,
        run: Run<'_>,
    ) -> Result<Tensor> {
        let layer = self.layer.clone();
        layer.new_output(Mode::Step, x, run, |y, run| {
            self.step_slots(slots, x, y, run)
        })
    }

    /// Does what steps over `x` would, in few large blocks: `x` may be longer than `max_steps`. Its time is a multiple of
    /// the block size. Not real-time safe.
    ///
    /// # Errors
    /// [`Status`]`::Shape`, `Length`, `Unsupported`, `Callback`. The state is then as before.
    pub fn apply(&mut self, x: &View<'_>, y: &mut ViewMut<'_>, run: Run<'_>) -> Result<()> {
        let run = run.with_state(self.as_ptr());
        self.layer.apply(x, y, run)
    }

    /// As [`apply`](State::apply), into a new tensor.
    ///
    /// # Errors
    /// As [`apply`](State::apply).
    pub fn apply_new(&mut self, x: &View<'_>, run: Run<'_>) -> Result<Tensor> {
        let layer = self.layer.clone();
        layer.new_output(Mode::Step, x, run, |y, run| self.apply(x, y, run))
    }

    /// Paths and shapes of the auxiliary outputs of a step over an `x` of that shape.
    ///
    /// # Errors
    /// As [`Layer::emit_shapes`].
    pub fn emit_shapes(&mut self, x: &View<'_>, run: Run<'_>) -> Result<Vec<EmitShape>> {
        let run = run.with_state(self.as_ptr());
        self.layer.emit_shapes(Mode::Step, x, run)
    }

    /// Computes what steps keep of the constants, such as keys and values of a cross-attention's source. Without this call
    /// the first step does so. They are as in a step of one block. Not real-time safe.
    ///
    /// # Errors
    /// [`Status`]`::Shape`, `Callback`.
    pub fn prepare(&mut self, constants: &Constants<'_>) -> Result<()> {
        let (pointer, count) = constants.raw();
        // SAFETY: all pointers are valid, and `&mut self` is the state's only user.
        check(|error| unsafe { sys::sl_state_prepare(self.as_ptr(), pointer, count, error) })
    }

    /// Sets the stream back to its start. Real-time safe.
    ///
    /// # Errors
    /// None are known.
    pub fn reset(&mut self) -> Result<()> {
        // SAFETY: `&mut self` is the state's only user.
        check(|error| unsafe { sys::sl_state_reset(self.as_ptr(), error) })
    }

    /// Sets one item of the batch back to its start; the others continue. Real-time safe.
    ///
    /// # Errors
    /// [`Status::InvalidArgument`] if there is no such item.
    pub fn reset_item(&mut self, item: usize) -> Result<()> {
        // SAFETY: `&mut self` is the state's only user.
        check(|error| unsafe { sys::sl_state_reset_item(self.as_ptr(), to_i64(item), error) })
    }

    /// Continues where `source` stands, of the same layer and options but `max_steps` and the size of `max_length`.
    /// Real-time safe.
    ///
    /// # Errors
    /// [`Status::State`], [`Status::Length`] if the source has had more steps than this one takes.
    pub fn copy_from(&mut self, source: &State) -> Result<()> {
        // SAFETY: both handles are valid, `&mut self` is the only user of its own, and a state is not `Sync`.
        check(|error| unsafe { sys::sl_state_copy(self.as_ptr(), source.as_ptr(), error) })
    }

    /// Makes one item continue where an item of `source` stands; the others continue as they are. The batches may differ.
    /// Real-time safe.
    ///
    /// # Errors
    /// As [`copy_from`](State::copy_from), [`Status::InvalidArgument`] if there is no such item.
    pub fn copy_item_from(
        &mut self,
        item: usize,
        source: &State,
        source_item: usize,
    ) -> Result<()> {
        // SAFETY: as in `copy_from`.
        check(|error| unsafe {
            sys::sl_state_copy_item(
                self.as_ptr(),
                to_i64(item),
                source.as_ptr(),
                to_i64(source_item),
                error,
            )
        })
    }

    /// As [`copy_item_from`](State::copy_item_from), from another item of this state. Real-time safe.
    ///
    /// # Errors
    /// [`Status::InvalidArgument`] if there is no such item.
    pub fn copy_item_within(&mut self, item: usize, source_item: usize) -> Result<()> {
        let (item, source_item) = (to_i64(item), to_i64(source_item));
        // SAFETY: `&mut self` is the state's only user.
        check(|error| unsafe {
            sys::sl_state_copy_item(self.as_ptr(), item, self.as_ptr(), source_item, error)
        })
    }

    /// Bytes that the saved state takes.
    pub fn save_size(&self) -> usize {
        // SAFETY: the handle is valid.
        unsafe { sys::sl_state_save_size(self.as_ptr()) }
    }

    /// The state as bytes: versioned, with a fingerprint of the model and the options, and a checksum.
    ///
    /// # Errors
    /// None are known.
    pub fn save(&self) -> Result<Vec<u8>> {
        let mut out = vec![0; self.save_size()];
        self.save_into(&mut out)?;
        Ok(out)
    }

    /// As [`save`](State::save), into the caller's buffer of at least [`save_size`](State::save_size) bytes. Real-time
    /// safe.
    ///
    /// # Errors
    /// [`Status::InvalidArgument`] for a buffer that is too small.
    pub fn save_into(&self, buffer: &mut [u8]) -> Result<()> {
        // SAFETY: all pointers are valid, and a state is not `Sync`.
        check(|error| unsafe {
            sys::sl_state_save(
                self.as_ptr(),
                buffer.as_mut_ptr().cast(),
                buffer.len(),
                error,
            )
        })
    }

    /// Continues where the saved state stood. Real-time safe.
    ///
    /// # Errors
    /// [`Status::State`] for bytes of another model, other options or another version, and damaged ones. The state is
    /// then as it was.
    pub fn load(&mut self, saved: &[u8]) -> Result<()> {
        // SAFETY: all pointers are valid, and `&mut self` is the state's only user.
        check(|error| unsafe {
            sys::sl_state_load(self.as_ptr(), saved.as_ptr().cast(), saved.len(), error)
        })
    }

    /// Bytes that one saved item takes.
    pub fn save_item_size(&self) -> usize {
        // SAFETY: the handle is valid.
        unsafe { sys::sl_state_save_item_size(self.as_ptr()) }
    }

    /// One item of the batch as bytes, which a state of batch 1 with these options loads too, and saves.
    ///
    /// # Errors
    /// [`Status::InvalidArgument`] if there is no such item.
    pub fn save_item(&self, item: usize) -> Result<Vec<u8>> {
        let mut out = vec![0; self.save_item_size()];
        self.save_item_into(item, &mut out)?;
        Ok(out)
    }

    /// As [`save_item`](State::save_item), into the caller's buffer of at least [`save_item_size`](State::save_item_size)
    /// bytes. Real-time safe.
    ///
    /// # Errors
    /// [`Status::InvalidArgument`] also for a buffer that is too small.
    pub fn save_item_into(&self, item: usize, buffer: &mut [u8]) -> Result<()> {
        let (pointer, size) = (buffer.as_mut_ptr().cast(), buffer.len());
        // SAFETY: all pointers are valid, and a state is not `Sync`.
        check(|error| unsafe {
            sys::sl_state_save_item(self.as_ptr(), to_i64(item), pointer, size, error)
        })
    }

    /// Makes one item continue where the saved item stood; the others continue as they are. Real-time safe.
    ///
    /// # Errors
    /// As [`load`](State::load), [`Status::InvalidArgument`] if there is no such item.
    pub fn load_item(&mut self, item: usize, saved: &[u8]) -> Result<()> {
        let (pointer, size) = (saved.as_ptr().cast(), saved.len());
        // SAFETY: all pointers are valid, and `&mut self` is the state's only user.
        check(|error| unsafe {
            sys::sl_state_load_item(self.as_ptr(), to_i64(item), pointer, size, error)
        })
    }

    /// Names and values of the tensors that make up the state, to print and check it.
    ///
    /// # Errors
    /// None are known.
    pub fn tensors(&self) -> Result<Vec<(&str, View<'_>)>> {
        (0..self.tensor_count())
            .map(|index| {
                let (name, raw) = self.tensor(index)?;
                // SAFETY: the view lives as long as the state, which nothing changes while `self` is borrowed.
                Ok((name, unsafe { View::from_raw(raw) }))
            })
            .collect()
    }

    /// A tensor of the state, to set a carry between steps.
    ///
    /// # Errors
    /// [`Status::InvalidArgument`] if there is none of that name; [`Status::Unsupported`] if it holds no numbers with a
    /// fraction: the library relies on the others.
    pub fn tensor_mut(&mut self, name: &str) -> Result<ViewMut<'_>> {
        let find = |&index: &usize| matches!(self.tensor(index), Ok((known, _)) if known == name);
        let index = (0..self.tensor_count())
            .find(find)
            .ok_or_else(|| Error::invalid(format!("no state tensor \"{}\"", name)))?;
        let (_, raw) = self.tensor(index)?;
        if !holds_fractions(DType::from_code(raw.dtype)) {
            return Err(Error::new(
                Status::Unsupported,
                format!("the state tensor \"{}\" is an index", name),
            ));
        }
        // SAFETY: the view borrows `self`, and any bits are a number.
        Ok(unsafe { ViewMut::from_raw(raw) })
    }

    fn tensor_count(&self) -> usize {
        // SAFETY: the handle is valid.
        to_usize(unsafe { sys::sl_state_tensor_count(self.as_ptr()) })
    }

    fn tensor(&self, index: usize) -> Result<(&str, sys::sl_sequence)> {
        let mut name: *const c_char = ptr::null();
        let mut view = sys::sl_sequence::default();
        // SAFETY: all pointers are valid; the name lives as long as the state.
        unsafe {
            check(|error| {
                sys::sl_state_tensor(self.as_ptr(), to_i64(index), &mut name, &mut view, error)
            })?;
            Ok((optional_str(name).unwrap_or(""), view))
        }
    }

    /// The model.
    pub fn layer(&self) -> &Layer {
        &self.layer
    }

    /// Streams that step together.
    pub fn batch(&self) -> usize {
        self.options.batch
    }

    /// Content of a step of x.
    pub fn input(&self) -> ChannelSpec {
        self.options.input.unwrap_or_default()
    }

    /// The constants of the options, without values.
    pub(crate) fn constant_shapes(&self) -> &Constants<'static> {
        &self.constants
    }

    /// The maximum of steps in one call, as it is after rounding.
    pub(crate) fn max_steps(&self) -> Result<usize> {
        let block = self.layer.block_size()?.max(1);
        let blocks = self.options.max_steps.saturating_add(block - 1) / block;
        Ok(blocks.max(1).saturating_mul(block))
    }

    pub(crate) fn as_ptr(&self) -> *mut sys::sl_state {
        self.handle.as_ptr()
    }
}

fn holds_fractions(dtype: DType) -> bool {
    [
        f32::DTYPE,
        crate::Complex32::DTYPE,
        crate::Bf16::DTYPE,
        crate::F16::DTYPE,
    ]
    .contains(&dtype)
}

impl Drop for State {
    fn drop(&mut self) {
        // SAFETY: the handle is valid, nobody uses it any more, and the layer still lives.
        unsafe { sys::sl_state_free(self.as_ptr()) }
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "State({:?})", self.options)
    }
}
