//! Steps with buffers of their own, at the cost of the C call.

use crate::constants::Constants;
use crate::dtype::{DType, Element};
use crate::error::{to_usize, Error, Result, Status};
use crate::layer::Mode;
use crate::run::Run;
use crate::shape::Shape;
use crate::state::State;
use crate::sys;
use crate::view::{Tensor, View};
use std::fmt;
use std::mem::size_of;

/// Steps a stream block after block of one size: it owns the input, the output, constants and auxiliary outputs, so that a
/// step is one call without a look at sizes, and never allocates, not even where it fails.
///
/// ```
/// use sequence_layers::{Layer, State, StateOptions, Stepper};
///
/// let layer = Layer::from_config(r#"{"type": "Delay", "length": 1}"#)?;
/// let state = State::new(&layer, &StateOptions::new().max_steps(4))?;
/// let mut stepper = Stepper::<f32, f32>::new(state, 4)?;
/// stepper.input_mut().copy_from_slice(&[1.0, 2.0, 3.0, 4.0]);
/// stepper.step()?;
/// assert_eq!(stepper.output(), [0.0, 1.0, 2.0, 3.0]);
/// assert_eq!(stepper.process(&[5.0, 6.0, 7.0, 8.0])?, [4.0, 5.0, 6.0, 7.0]);  // the block is not copied
/// # Ok::<(), sequence_layers::Error>(())
/// ```
pub struct Stepper<T: Element = f32, U: Element = f32> {
    state: State,
    x: sys::sl_sequence,
    y: sys::sl_sequence,
    input: Vec<T>,
    input_mask: Vec<u8>,
    output: Vec<U>,
    output_mask: Vec<u8>,
    constants: Vec<Tensor>,
    emits: Vec<Tensor>,
    /// Owns the names of the constants: the state may be exchanged for another.
    _names: Constants<'static>,
    /// Constants and emits as C reads and writes them.
    raw_constants: Vec<sys::sl_constant>,
    raw_emits: Vec<sys::sl_sequence>,
    run: sys::sl_run_options,
    error: Box<sys::sl_error>,
}

// SAFETY: all that its pointers point to is its own.
unsafe impl<T: Element, U: Element> Send for Stepper<T, U> {}

impl<T: Element, U: Element> Stepper<T, U> {
    /// A stepper of blocks of `steps` steps, a multiple of the block size and at most the state's `max_steps`. The input
    /// and the constants begin as zeros that are valid.
    ///
    /// # Errors
    /// [`Status::Shape`] if `T` is not the input's type, or `U` the output's.
    pub fn new(state: State, steps: usize) -> Result<Self> {
        let spec = state.input();
        let mut dims = vec![state.batch(), steps];
        dims.extend(spec.shape());
        let x = Shape::sequence(spec.dtype(), &dims)?;
        expect(x.dtype(), T::DTYPE, "input")?;
        let constants = constant_buffers(&state, steps)?;
        let names = state.constant_shapes().shapes();
        let raw_constants = raw_constants(&names, &constants);
        let mut out = Stepper {
            input: zeros(&x)?,
            input_mask: Vec::new(),
            output: Vec::new(),
            output_mask: Vec::new(),
            x: x.raw(),
            y: sys::sl_sequence::default(),
            state,
            constants,
            emits: Vec::new(),
            _names: names,
            raw_constants,
            raw_emits: Vec::new(),
            run: sys::sl_run_options::default(),
            error: Box::new(sys::sl_error {
                struct_size: size_of::<sys::sl_error>() as u32,
                ..Default::default()
            }),
        };
        out.run.num_constants = out.raw_constants.len() as i64;
        out.run.constants = out.raw_constants.as_ptr();
        let y =
            out.state
                .layer()
                .output_shape(Mode::Step, &View::of_shape(&x), out.shapes_run())?;
        expect(y.dtype(), U::DTYPE, "output")?;
        out.output = zeros(&y)?;
        out.y = y.raw();
        Ok(out)
    }

    /// A run with the constants, which asks for shapes.
    fn shapes_run(&self) -> Run<'static> {
        let mut run = sys::sl_run_options::default();
        run.constants = self.run.constants;
        run.num_constants = self.run.num_constants;
        // The constants live in the heap as long as the stepper, which outlives the calls that ask.
        Run::from_raw(run)
    }

    /// Gives the input and the output masks, `[batch, time]`, which begin as valid.
    pub fn with_masks(mut self) -> Self {
        self.input_mask = vec![1; Shape::from_raw(&self.x).steps()];
        self.output_mask = vec![1; Shape::from_raw(&self.y).steps()];
        self
    }

    /// Has the auxiliary outputs written.
    ///
    /// # Errors
    /// As [`Layer::emit_shapes`](crate::Layer::emit_shapes).
    pub fn with_emits(mut self) -> Result<Self> {
        let x = View::of_shape(&Shape::from_raw(&self.x));
        let run = self.shapes_run();
        let shapes = self.state.emit_shapes(&x, run)?;
        self.emits = shapes
            .iter()
            .map(|emit| Tensor::zeros(&emit.shape))
            .collect::<Result<_>>()?;
        self.raw_emits = self.emits.iter().map(|_| Default::default()).collect();
        Ok(self)
    }

    /// The next block, `[batch, time, channels...]`.
    pub fn input_mut(&mut self) -> &mut [T] {
        &mut self.input
    }

    /// The mask of the next block; empty without [`with_masks`](Stepper::with_masks).
    pub fn input_mask_mut(&mut self) -> &mut [u8] {
        &mut self.input_mask
    }

    /// The values of a constant for the next block, by the index that it has in the state's options.
    pub fn constant_mut(&mut self, index: usize) -> Option<&mut Tensor> {
        self.constants.get_mut(index)
    }

    /// Runs the block of [`input_mut`](Stepper::input_mut). Real-time safe.
    ///
    /// # Errors
    /// [`Status`]`::Callback`, `Length` past the `max_length`; [`message`](Stepper::message) says more.
    #[inline]
    pub fn step(&mut self) -> Result<(), Status> {
        self.step_from(self.input.as_ptr())
    }

    /// Runs a block of the caller's, of as many values as [`input_mut`](Stepper::input_mut), which is not copied.
    /// Real-time safe.
    ///
    /// # Errors
    /// As [`step`](Stepper::step), [`Status::Shape`] for another number of values.
    #[inline]
    pub fn process(&mut self, block: &[T]) -> Result<&[U], Status> {
        if block.len() != self.input.len() {
            return Err(Status::Shape);
        }
        self.step_from(block.as_ptr())?;
        Ok(&self.output)
    }

    /// Runs the next block of some of the streams, the items of the batch that `slots` names, each once and in any order; all
    /// others stay as they are. The buffers of the input, the output, the constants and the auxiliary outputs have their
    /// items first, in that order. Real-time safe.
    ///
    /// ```
    /// use sequence_layers::{Layer, State, StateOptions, Stepper};
    ///
    /// let layer = Layer::from_config(r#"{"type": "Delay", "length": 1}"#)?;
    /// let mut stepper: Stepper = Stepper::new(State::new(&layer, &StateOptions::new().batch(3))?, 1)?;
    /// stepper.input_mut()[..2].copy_from_slice(&[1.0, 2.0]);
    /// stepper.step_slots(&[2, 0])?;
    /// stepper.input_mut()[..2].copy_from_slice(&[3.0, 4.0]);
    /// stepper.step_slots(&[0, 1])?;
    /// assert_eq!(stepper.output()[..2], [2.0, 0.0]);
    /// # Ok::<(), sequence_layers::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`step`](Stepper::step), [`Status::InvalidArgument`] for a slot that does not exist or is named twice.
    pub fn step_slots(&mut self, slots: &[usize]) -> Result<(), Status> {
        let batch = self.x.dims[0];
        if slots.len() > to_usize(batch) {
            return Err(Status::InvalidArgument);
        }
        let (numbers, count) = self.state.set_slots(slots)?;
        let run = self.point_to(self.input.as_ptr());
        for raw in &mut self.raw_constants {
            raw.value = first(&raw.value, batch, count);
        }
        for raw in &mut self.raw_emits {
            *raw = first(raw, batch, count);
        }
        let (x, mut y) = (first(&self.x, batch, count), first(&self.y, batch, count));
        let (layer, state) = (self.state.layer().as_ptr(), self.state.as_ptr());
        let error = &mut *self.error;
        // SAFETY: as in `step_from`; the views are of the first items of the buffers.
        status(unsafe {
            sys::sl_layer_step_slots(layer, state, numbers, count, &x, &mut y, run, error)
        })
    }

    #[inline]
    fn step_from(&mut self, block: *const T) -> Result<(), Status> {
        let run = self.point_to(block);
        let layer = self.state.layer().as_ptr();
        // SAFETY: the views are of buffers of their size, constants and emits of tensors that `self` owns, and
        // `&mut self` is the state's only user.
        status(unsafe {
            sys::sl_layer_step(
                layer,
                self.state.as_ptr(),
                &self.x,
                &mut self.y,
                run,
                &mut *self.error,
            )
        })
    }

    /// Points all views to the buffers, and gives the options of the run; null if they say nothing.
    #[inline]
    fn point_to(&mut self, block: *const T) -> *const sys::sl_run_options {
        self.x.data = block as *mut _;
        self.y.data = self.output.as_mut_ptr().cast();
        if !self.input_mask.is_empty() {
            self.x.mask = self.input_mask.as_mut_ptr();
            self.y.mask = self.output_mask.as_mut_ptr();
        }
        if self.constants.is_empty() && self.emits.is_empty() {
            return std::ptr::null();
        }
        self.set_run();
        &self.run
    }

    fn set_run(&mut self) {
        for (raw, constant) in self.raw_constants.iter_mut().zip(&self.constants) {
            raw.value = *constant.view().raw();
        }
        for (raw, emit) in self.raw_emits.iter_mut().zip(&mut self.emits) {
            *raw = *emit.view_mut().raw_mut();
        }
        self.run.constants = self.raw_constants.as_ptr();
        self.run.num_constants = self.raw_constants.len() as i64;
        self.run.emits = self.raw_emits.as_mut_ptr();
        self.run.num_emits = self.raw_emits.len() as i64;
    }

    /// The last step's output, `[batch, time, channels...]`.
    pub fn output(&self) -> &[U] {
        &self.output
    }

    /// Shape of the output.
    pub fn output_shape(&self) -> Shape {
        Shape::from_raw(&self.y)
    }

    /// The last step's output mask; empty without [`with_masks`](Stepper::with_masks).
    pub fn output_mask(&self) -> &[u8] {
        &self.output_mask
    }

    /// The last step's auxiliary outputs; empty without [`with_emits`](Stepper::with_emits).
    pub fn emits(&self) -> &[Tensor] {
        &self.emits
    }

    /// Why the last step that failed did so.
    pub fn message(&self) -> &str {
        let message = self.error.message.as_ptr();
        // SAFETY: the library ends it in zero, and it is zero at first.
        unsafe { crate::error::optional_str(message) }.unwrap_or("")
    }

    /// The stream, to reset, save or copy it.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The stream, to reset, load or change it.
    pub fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    /// The stream, without the buffers.
    pub fn into_state(self) -> State {
        self.state
    }
}

fn status(code: sys::sl_status) -> Result<(), Status> {
    match code {
        sys::SL_STATUS_OK => Ok(()),
        code => Err(Status::from_code(code)),
    }
}

/// The first items of a view of a whole batch.
fn first(whole: &sys::sl_sequence, batch: i64, count: i64) -> sys::sl_sequence {
    let mut out = *whole;
    if out.rank > 0 && out.dims[0] == batch {
        out.dims[0] = count;
    }
    out
}

fn expect(dtype: DType, wanted: DType, what: &str) -> Result<()> {
    if dtype == wanted {
        return Ok(());
    }
    Err(Error::new(
        Status::Shape,
        format!("the {} is {}, not {}", what, dtype, wanted),
    ))
}

fn zeros<T: Element>(shape: &Shape) -> Result<Vec<T>> {
    let len = Tensor::zeros(shape)?.values::<T>()?.len();
    Ok(vec![T::default(); len])
}

/// A buffer for each constant of the state's options, with the share of a block of a streamed one.
fn constant_buffers(state: &State, steps: usize) -> Result<Vec<Tensor>> {
    let infos = state.layer().constants()?;
    let max_steps = state.max_steps()?;
    let shapes = state.constant_shapes();
    let buffer = |index| {
        let shape = shapes.view(index).shape();
        let is_streamed = infos
            .iter()
            .any(|info| info.streamed && shapes.index(&info.name) == Some(index));
        if !is_streamed || shape.is_array() {
            return Tensor::zeros(&shape);
        }
        let mut dims = shape.dims().to_vec();
        dims[1] = dims[1].saturating_mul(steps) / max_steps;
        Tensor::zeros(&Shape::sequence(shape.dtype(), &dims)?)
    };
    (0..shapes.len()).map(buffer).collect()
}

/// The constants for C, with names that live in the heap as long as `names`.
fn raw_constants(names: &Constants<'_>, constants: &[Tensor]) -> Vec<sys::sl_constant> {
    let raw = |(index, constant): (usize, &Tensor)| sys::sl_constant {
        name: names.name(index),
        value: *constant.view().raw(),
    };
    constants.iter().enumerate().map(raw).collect()
}

impl<T: Element, U: Element> fmt::Debug for Stepper<T, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Stepper({:?} -> {:?})",
            Shape::from_raw(&self.x),
            Shape::from_raw(&self.y)
        )
    }
}
