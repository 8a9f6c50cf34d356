//! Models: their properties, and runs of whole sequences.

use crate::constants::{ConstantInfo, Constants};
use crate::custom::{Factory, Registry};
use crate::error::{
    c_enum, c_string, check, check_count, lossy, make, optional_str, text, to_i64, to_usize, Result,
};
use crate::run::{EmitShape, Run};
use crate::shape::{ChannelSpec, Shape};
use crate::sys;
use crate::view::{Tensor, View, ViewMut};
use crate::weights::{c_path, Weights};
use std::any::Any;
use std::ffi::CString;
use std::fmt;
use std::os::raw::{c_char, c_void};
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::path::Path;
use std::ptr::{self, NonNull};
use std::sync::Arc;

c_enum! {
    /// How a model runs.
    Mode {
        /// A whole sequence.
        Layer = SL_MODE_LAYER,
        /// A step of a stream.
        Step = SL_MODE_STEP,
    }
}

/// How a model is made.
#[derive(Clone, Debug, Default)]
pub struct LayerOptions<'a> {
    num_threads: usize,
    max_bytes: usize,
    registry: Option<&'a Registry>,
    weight_format: Option<CString>,
    num_step_threads: usize,
    matmul_backend: i32,
    kv_format: Option<CString>,
    max_lent_threads: usize,
}

c_enum! {
    /// What computes the large matrix products of whole runs.
    MatmulBackend {
        /// The one that is expected to be the fastest on this CPU.
        Default = SL_MATMUL_BACKEND_DEFAULT,
        /// The library's own kernels.
        Own = SL_MATMUL_BACKEND_OWN,
        /// oneDNN where it can be loaded.
        OneDnn = SL_MATMUL_BACKEND_ONEDNN,
        /// OpenBLAS where it can be loaded.
        OpenBlas = SL_MATMUL_BACKEND_OPENBLAS,
    }
}

impl<'a> LayerOptions<'a> {
    /// One thread, the built-in layers, at most 2^36 bytes.
    pub fn new() -> Self {
        LayerOptions::default()
    }

    /// Threads of whole runs: 1 to 256.
    pub fn num_threads(mut self, num_threads: usize) -> Self {
        self.num_threads = num_threads;
        self
    }

    /// Maximum of bytes for the layer's weights and tables together, for each of its states, and for the workspace of
    /// each run. What needs more is refused before it is allocated.
    pub fn max_bytes(mut self, max_bytes: usize) -> Self {
        self.max_bytes = max_bytes;
        self
    }

    /// How the weights of matrix products are held: "float32", "bfloat16", "int8" or "int4", and exceptions by the names of
    /// tensors: "int8, *.output.kernel=float32".
    ///
    /// # Errors
    /// [`Status`](crate::Status)`::InvalidArgument` for a text with a zero byte. Other faults show when the model is made.
    pub fn weight_format(mut self, format: &str) -> Result<Self> {
        self.weight_format = Some(c_string(format, "the weight format")?);
        Ok(self)
    }

    /// Threads of steps with large matrices, that of the caller included: 1 to 64.
    pub fn num_step_threads(mut self, num_step_threads: usize) -> Self {
        self.num_step_threads = num_step_threads;
        self
    }

    /// What computes the large matrix products of whole runs.
    pub fn matmul_backend(mut self, backend: MatmulBackend) -> Self {
        self.matmul_backend = backend.code();
        self
    }

    /// How steps cache the keys and values of attention: `"float32"`, the default, `"bfloat16"` or `"int8"`.
    ///
    /// # Errors
    /// [`Status`](crate::Status)`::InvalidArgument` for a text with a zero byte. Other faults show when the model is made.
    pub fn kv_format(mut self, format: &str) -> Result<Self> {
        self.kv_format = Some(c_string(format, "the format of caches")?);
        Ok(self)
    }

    /// Threads that may be lent to steps at the same time, by [`Layer::lend_thread`]: 0 to 64 less the step threads.
    pub fn max_lent_threads(mut self, max_lent_threads: usize) -> Self {
        self.max_lent_threads = max_lent_threads;
        self
    }

    /// Layer types beside the built-in ones.
    pub fn registry(mut self, registry: &'a Registry) -> Self {
        self.registry = Some(registry);
        self
    }

    fn raw(&self) -> sys::sl_layer_options {
        sys::sl_layer_options {
            num_threads: i32::try_from(self.num_threads).unwrap_or(i32::MAX),
            registry: self.registry.map_or(ptr::null(), |r| r.as_ptr()),
            max_bytes: to_i64(self.max_bytes),
            weight_format: self
                .weight_format
                .as_ref()
                .map_or(ptr::null(), |f| f.as_ptr()),
            num_step_threads: i32::try_from(self.num_step_threads).unwrap_or(i32::MAX),
            matmul_backend: self.matmul_backend,
            kv_format: self.kv_format.as_ref().map_or(ptr::null(), |f| f.as_ptr()),
            max_lent_threads: i32::try_from(self.max_lent_threads).unwrap_or(i32::MAX),
            ..Default::default()
        }
    }

    fn factories(&self) -> Vec<Factory> {
        self.registry.map_or(Vec::new(), Registry::factories)
    }
}

struct Lent<F> {
    keep_going: F,
    panic: Option<Box<dyn Any + Send>>,
}

/// # Safety
/// `lent` must point to a `Lent<F>` that nothing else uses.
unsafe extern "C" fn keeps_going<F: FnMut() -> bool>(lent: *mut c_void) -> i32 {
    let lent = &mut *lent.cast::<Lent<F>>();
    match catch_unwind(AssertUnwindSafe(&mut lent.keep_going)) {
        Ok(goes_on) => i32::from(goes_on),
        Err(payload) => {
            lent.panic = Some(payload);
            0
        }
    }
}

/// Input steps that can affect an output step, relative to its own input step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReceptiveField {
    /// The first one; `None`: all of the past.
    pub start: Option<i64>,
    /// The last one; `None`: all of the future.
    pub end: Option<i64>,
}

impl ReceptiveField {
    fn from_raw(exists: i32, start: i64, end: i64) -> Option<Self> {
        (exists != 0).then(|| ReceptiveField {
            start: (start != -sys::SL_INFINITE).then_some(start),
            end: (end != sys::SL_INFINITE).then_some(end),
        })
    }

    pub(crate) fn raw(&self) -> (i64, i64) {
        (
            self.start.unwrap_or(-sys::SL_INFINITE),
            self.end.unwrap_or(sys::SL_INFINITE),
        )
    }
}

c_enum! {
    /// When steps give other values than a whole run.
    StepDifferenceCondition {
        /// For any input.
        Always = SL_STEP_DIFFERENCE_ALWAYS,
        /// If the input has invalid steps before valid ones.
        Holes = SL_STEP_DIFFERENCE_HOLES,
        /// Whole runs differ among themselves: the number of invalid steps that end the input decides what becomes of
        /// its valid ones.
        Padding = SL_STEP_DIFFERENCE_PADDING,
    }
}

/// A layer for which steps give other values than whole runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepDifference {
    /// When they do.
    pub condition: StepDifferenceCondition,
    /// Path of the layer; empty for the model itself.
    pub layer: String,
    /// Its type.
    pub layer_type: String,
    /// Why, for people.
    pub reason: String,
    /// A change of the config or the input that ends it.
    pub cure: String,
}

struct Model {
    handle: NonNull<sys::sl_layer>,
    /// The library refers to the factories of custom layers as long as the model lives.
    _factories: Vec<Factory>,
}

// SAFETY: a model never changes, may be used by any number of threads at once, and be freed by any of them. The custom
// layers within are `Send` and `Sync`.
unsafe impl Send for Model {}
// SAFETY: as above.
unsafe impl Sync for Model {}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: states and decoders hold the model, so none is left.
        unsafe { sys::sl_layer_free(self.handle.as_ptr()) }
    }
}

/// A model: immutable, shared by any number of states and threads. Clones are the same model, and states and decoders
/// keep theirs alive.
///
/// ```
/// use sequence_layers::{Layer, Run, State, StateOptions, Tensor};
///
/// let layer = Layer::from_config(r#"{"type": "Delay", "length": 2}"#)?;
/// let x = Tensor::from_values(&[1f32, 2.0, 3.0, 4.0], &[1, 4])?;
///
/// // The whole sequence at once...
/// let whole = layer.apply_new(&x.view(), Run::new())?;
///
/// // ...is what a stream gives step by step.
/// let mut state = State::new(&layer, &StateOptions::new())?;
/// for (step, expected) in x.values::<f32>()?.iter().zip(whole.values::<f32>()?) {
///     let step = Tensor::from_values(&[*step], &[1, 1])?;
///     let y = state.step_new(&step.view(), Run::new())?;
///     assert_eq!(y.values::<f32>()?[0], *expected);
/// }
/// # Ok::<(), sequence_layers::Error>(())
/// ```
#[derive(Clone)]
pub struct Layer(Arc<Model>);

impl Layer {
    /// The model of a directory that holds `config.json` and, if it has weights, `model.safetensors`. The weights are
    /// mapped: see [`Weights::open`].
    ///
    /// # Errors
    /// [`Status`](crate::Status)`::Config`, `Weights`, `Unsupported`, `Callback`, `Io`.
    pub fn open(directory: impl AsRef<Path>) -> Result<Self> {
        Layer::open_with(directory, &LayerOptions::new())
    }

    /// As [`open`](Layer::open), with options.
    ///
    /// # Errors
    /// As [`open`](Layer::open).
    pub fn open_with(directory: impl AsRef<Path>, options: &LayerOptions<'_>) -> Result<Self> {
        let path = c_path(directory.as_ref())?;
        let raw = options.raw();
        // SAFETY: all pointers are valid.
        let open =
            |out, error: *mut _| unsafe { sys::sl_layer_open(path.as_ptr(), &raw, out, error) };
        Layer::made(make(open)?, options)
    }

    /// The model of a JSON config that needs no weights.
    ///
    /// # Errors
    /// As [`create`](Layer::create).
    pub fn from_config(config: &str) -> Result<Self> {
        Layer::create(config, None, &LayerOptions::new())
    }

    /// The model of a JSON config with its weights. Every tensor must be used, and every tensor that a layer needs must
    /// be there. The layer keeps what it needs of the weights alive.
    ///
    /// # Errors
    /// [`Status`](crate::Status)`::Config`, `Weights`, `Unsupported`, `Callback`, `Io`.
    pub fn create(
        config: &str,
        weights: Option<&Weights>,
        options: &LayerOptions<'_>,
    ) -> Result<Self> {
        let raw = options.raw();
        let weights = weights.map_or(ptr::null(), |w| w.as_ptr() as *const _);
        let create = |out, error: *mut _| {
            let (config, size) = (config.as_ptr().cast(), config.len());
            // SAFETY: all pointers are valid.
            unsafe { sys::sl_layer_create(config, size, weights, &raw, out, error) }
        };
        Layer::made(make(create)?, options)
    }

    fn made(handle: NonNull<sys::sl_layer>, options: &LayerOptions<'_>) -> Result<Self> {
        Ok(Layer(Arc::new(Model {
            handle,
            _factories: options.factories(),
        })))
    }

    /// The input spec that is recorded with the model, or else the one that its first layers imply.
    ///
    /// # Errors
    /// [`Status::Unsupported`](crate::Status::Unsupported) if neither tells.
    pub fn input_spec(&self) -> Result<ChannelSpec> {
        let mut raw = sys::sl_channel_spec::default();
        // SAFETY: all pointers are valid.
        check(|error| unsafe { sys::sl_layer_input_spec(self.as_ptr(), &mut raw, error) })?;
        Ok(ChannelSpec::from_raw(&raw))
    }

    /// Channel spec that comes out for one that goes in.
    ///
    /// # Errors
    /// [`Status::Shape`](crate::Status::Shape).
    pub fn output_spec(
        &self,
        input: &ChannelSpec,
        constants: &Constants<'_>,
    ) -> Result<ChannelSpec> {
        let mut raw = sys::sl_channel_spec::default();
        let (pointer, count) = constants.raw();
        // SAFETY: all pointers are valid.
        check(|error| unsafe {
            sys::sl_layer_output_spec(self.as_ptr(), &input.raw(), pointer, count, &mut raw, error)
        })?;
        Ok(ChannelSpec::from_raw(&raw))
    }

    /// An entry of the metadata of the model's weights, such as `sample_rate`: input steps a second.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        let key = CString::new(key).ok()?;
        // SAFETY: all pointers are valid; the string lives as long as the model.
        unsafe { optional_str(sys::sl_layer_metadata(self.as_ptr(), key.as_ptr())) }
    }

    /// Input steps of which the time of a step is a multiple.
    ///
    /// # Errors
    /// None are known.
    pub fn block_size(&self) -> Result<usize> {
        self.steps(sys::sl_layer_block_size)
    }

    /// Invalid steps to append to the input of a stream, to get all of its output.
    ///
    /// # Errors
    /// [`Status::Unsupported`](crate::Status::Unsupported) if it cannot be told, as where latencies do not divide.
    pub fn input_latency(&self) -> Result<usize> {
        self.steps(sys::sl_layer_input_latency)
    }

    /// Steps to drop from the start of a stream's output.
    ///
    /// # Errors
    /// As [`input_latency`](Layer::input_latency).
    pub fn output_latency(&self) -> Result<usize> {
        self.steps(sys::sl_layer_output_latency)
    }

    /// Whether the model steps in a stream without a `max_length`. If it cannot, the error of
    /// [`State::new`](crate::State::new) says why.
    ///
    /// # Errors
    /// None are known.
    pub fn supports_step(&self) -> Result<bool> {
        let mut out = 0;
        // SAFETY: all pointers are valid.
        check(|error| unsafe { sys::sl_layer_supports_step(self.as_ptr(), &mut out, error) })?;
        Ok(out != 0)
    }

    /// Output steps for each input step: numerator and denominator, in lowest terms.
    ///
    /// # Errors
    /// None are known.
    pub fn output_ratio(&self) -> Result<(usize, usize)> {
        let (mut numerator, mut denominator) = (0, 0);
        // SAFETY: all pointers are valid.
        check(|error| unsafe {
            sys::sl_layer_output_ratio(self.as_ptr(), &mut numerator, &mut denominator, error)
        })?;
        Ok((to_usize(numerator), to_usize(denominator)))
    }

    /// Writes a weights file whose matrices are packed, as this layer holds them.
    ///
    /// # Errors
    /// [`Status`](crate::Status)`::Io`, `InvalidArgument` if the layer has no weights.
    pub fn save_weights(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = c_path(path.as_ref())?;
        // SAFETY: all pointers are valid.
        check(|error| unsafe { sys::sl_layer_save_weights(self.as_ptr(), path.as_ptr(), error) })
    }

    /// Helps with the steps that other threads make in this layer's states and decoders, until `keep_going` returns
    /// false. That is called between jobs, and all the time while there is none: the thread spins.
    ///
    /// # Errors
    /// [`Status`](crate::Status)`::InvalidArgument` if as many threads as [`LayerOptions::max_lent_threads`] allows are lent.
    pub fn lend_thread<F: FnMut() -> bool>(&self, keep_going: F) -> Result<()> {
        let mut lent = Lent {
            keep_going,
            panic: None,
        };
        let data: *mut Lent<F> = &mut lent;
        // SAFETY: the callback runs during the call only, on this thread, and gets what it expects.
        let result = check(|error| unsafe {
            sys::sl_layer_lend_thread(self.as_ptr(), Some(keeps_going::<F>), data.cast(), error)
        });
        if let Some(payload) = lent.panic {
            resume_unwind(payload);
        }
        result
    }

    /// Input steps that can affect an output step; `None` if none can.
    ///
    /// # Errors
    /// [`Status::Unsupported`](crate::Status::Unsupported) if a layer's own field starts after it ends.
    pub fn receptive_field(&self) -> Result<Option<ReceptiveField>> {
        self.field(|exists, start, end, error| {
            // SAFETY: all pointers are valid.
            unsafe { sys::sl_layer_receptive_field(self.as_ptr(), exists, start, end, error) }
        })
    }

    /// Receptive fields of single output steps, one for each of a cycle.
    ///
    /// # Errors
    /// As [`receptive_field`](Layer::receptive_field), or if they are too many.
    pub fn receptive_field_per_step(&self) -> Result<Vec<Option<ReceptiveField>>> {
        // SAFETY: all pointers are valid.
        let count = check_count(|error| unsafe {
            sys::sl_layer_receptive_field_count(self.as_ptr(), error)
        })?;
        let at = |step| {
            self.field(|exists, start, end, error| {
                let step = to_i64(step);
                // SAFETY: all pointers are valid.
                unsafe {
                    sys::sl_layer_receptive_field_at(self.as_ptr(), step, exists, start, end, error)
                }
            })
        };
        (0..count).map(at).collect()
    }

    /// Number of scalars in the weights.
    pub fn parameter_count(&self) -> usize {
        // SAFETY: the handle is valid.
        to_usize(unsafe { sys::sl_layer_parameter_count(self.as_ptr()) })
    }

    /// The model as JSON: type, name, names of constants, specs, parameters, state tensors, block size, ratio,
    /// latencies, children.
    ///
    /// # Errors
    /// [`Status::Shape`](crate::Status::Shape).
    pub fn describe(&self, input: &ChannelSpec, constants: &Constants<'_>) -> Result<String> {
        let input = input.raw();
        let (pointer, count) = constants.raw();
        text(|buffer, capacity, needed, error| {
            // SAFETY: all pointers are valid.
            unsafe {
                sys::sl_layer_describe(
                    self.as_ptr(),
                    &input,
                    pointer,
                    count,
                    buffer,
                    capacity,
                    needed,
                    error,
                )
            }
        })
    }

    /// The constants that the model reads. Every call wants those that are required, and ignores those that the model
    /// does not read.
    ///
    /// # Errors
    /// None are known.
    pub fn constants(&self) -> Result<Vec<ConstantInfo>> {
        // SAFETY: the handle is valid.
        let count = unsafe { sys::sl_layer_constant_count(self.as_ptr()) };
        let at = |index| {
            let mut raw = sys::sl_constant_info::default();
            // SAFETY: all pointers are valid; the strings live as long as the model.
            unsafe {
                check(|error| sys::sl_layer_constant(self.as_ptr(), index, &mut raw, error))?;
                Ok(ConstantInfo::from_raw(&raw))
            }
        };
        (0..count).map(at).collect()
    }

    /// Layers for which steps give other values than whole runs. Most models have none.
    ///
    /// # Errors
    /// None are known.
    pub fn step_differences(&self) -> Result<Vec<StepDifference>> {
        // SAFETY: the handle is valid.
        let count = unsafe { sys::sl_layer_step_difference_count(self.as_ptr()) };
        let at = |index| {
            let mut raw = sys::sl_step_difference::default();
            // SAFETY: all pointers are valid; the strings live as long as the model.
            unsafe {
                check(|error| {
                    sys::sl_layer_step_difference(self.as_ptr(), index, &mut raw, error)
                })?;
                Ok(StepDifference {
                    condition: StepDifferenceCondition::from_code(raw.condition),
                    layer: lossy(raw.layer),
                    layer_type: lossy(raw.type_),
                    reason: lossy(raw.reason),
                    cure: lossy(raw.cure),
                })
            }
        };
        (0..count).map(at).collect()
    }

    /// Shape of what a run makes of an `x` of that shape. The values of `x` are not read.
    ///
    /// # Errors
    /// [`Status::Shape`](crate::Status::Shape), [`Status::Unsupported`](crate::Status::Unsupported).
    pub fn output_shape(&self, mode: Mode, x: &View<'_>, run: Run<'_>) -> Result<Shape> {
        let mut y = sys::sl_sequence::default();
        // SAFETY: all pointers are valid.
        check(|error| unsafe {
            sys::sl_layer_output_shape(
                self.as_ptr(),
                mode.code(),
                x.raw(),
                run.raw(),
                &mut y,
                error,
            )
        })?;
        Ok(Shape::from_raw(&y))
    }

    /// Paths and shapes of the auxiliary outputs for an `x` of that shape. A path of more than 1023 bytes is cut.
    ///
    /// # Errors
    /// [`Status::Shape`](crate::Status::Shape), [`Status::Unsupported`](crate::Status::Unsupported).
    pub fn emit_shapes(&self, mode: Mode, x: &View<'_>, run: Run<'_>) -> Result<Vec<EmitShape>> {
        let channels = x.shape().channels().raw();
        let (constants, num_constants) = run.raw_constants();
        // SAFETY: all pointers are valid.
        let count = check_count(|error| unsafe {
            sys::sl_layer_emit_count(self.as_ptr(), &channels, constants, num_constants, error)
        })?;
        (0..count)
            .map(|index| self.emit_shape(mode, x, &run, index))
            .collect()
    }

    fn emit_shape(
        &self,
        mode: Mode,
        x: &View<'_>,
        run: &Run<'_>,
        index: usize,
    ) -> Result<EmitShape> {
        let mut path = [0 as c_char; 1024];
        let mut shape = sys::sl_sequence::default();
        // SAFETY: all pointers are valid, and the path ends in zero.
        unsafe {
            check(|error| {
                sys::sl_layer_emit_shape(
                    self.as_ptr(),
                    mode.code(),
                    x.raw(),
                    run.raw(),
                    to_i64(index),
                    path.as_mut_ptr(),
                    path.len(),
                    &mut shape,
                    error,
                )
            })?;
            Ok(EmitShape {
                path: lossy(path.as_ptr()),
                shape: Shape::from_raw(&shape),
            })
        }
    }

    /// Runs a whole sequence of any length into `y`, of the shape that [`output_shape`](Layer::output_shape) tells.
    ///
    /// # Errors
    /// [`Status`](crate::Status)`::Shape`, `Length`, `Unsupported`, `Callback`.
    pub fn apply(&self, x: &View<'_>, y: &mut ViewMut<'_>, run: Run<'_>) -> Result<()> {
        // SAFETY: all pointers are valid; what `run` and the views borrow lives until the call returns.
        check(|error| unsafe {
            sys::sl_layer_apply(self.as_ptr(), x.raw(), y.raw_mut(), run.raw(), error)
        })
    }

    /// Runs a whole sequence into a new tensor.
    ///
    /// # Errors
    /// As [`apply`](Layer::apply).
    pub fn apply_new(&self, x: &View<'_>, run: Run<'_>) -> Result<Tensor> {
        self.new_output(Mode::Layer, x, run, |y, run| self.apply(x, y, run))
    }

    /// A tensor of the output's shape, into which `write` runs.
    pub(crate) fn new_output<'r>(
        &self,
        mode: Mode,
        x: &View<'_>,
        run: Run<'r>,
        write: impl FnOnce(&mut ViewMut<'_>, Run<'r>) -> Result<()>,
    ) -> Result<Tensor> {
        let mut y = Tensor::zeros(&self.output_shape(mode, x, run.constants_only())?)?;
        write(&mut y.view_mut(), run)?;
        Ok(y)
    }

    fn steps(
        &self,
        call: unsafe extern "C" fn(*const sys::sl_layer, *mut i64, *mut sys::sl_error) -> i32,
    ) -> Result<usize> {
        let mut out = 0;
        // SAFETY: all pointers are valid.
        check(|error| unsafe { call(self.as_ptr(), &mut out, error) })?;
        Ok(to_usize(out))
    }

    fn field(
        &self,
        call: impl FnOnce(*mut i32, *mut i64, *mut i64, *mut sys::sl_error) -> i32,
    ) -> Result<Option<ReceptiveField>> {
        let (mut exists, mut start, mut end) = (0, 0, 0);
        check(|error| call(&mut exists, &mut start, &mut end, error))?;
        Ok(ReceptiveField::from_raw(exists, start, end))
    }

    pub(crate) fn as_ptr(&self) -> *const sys::sl_layer {
        self.0.handle.as_ptr()
    }
}

impl fmt::Debug for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Layer({} parameters)", self.parameter_count())
    }
}

/// The version of the library: major, minor, patch.
pub fn version() -> (u32, u32, u32) {
    // SAFETY: any thread may ask at any time.
    let version = unsafe { sys::sl_version() };
    (version >> 16, version >> 8 & 0xff, version & 0xff)
}

/// The names of the built-in layer types.
pub fn built_in_types() -> Vec<String> {
    types_of(ptr::null())
}

pub(crate) fn types_of(registry: *const sys::sl_registry) -> Vec<String> {
    // SAFETY: null stands for the built-in layers; the names are copied at once.
    unsafe {
        let count = sys::sl_registry_type_count(registry);
        let name = |index| lossy(sys::sl_registry_type(registry, index));
        (0..count).map(name).collect()
    }
}

/// Checks a name that becomes a layer type.
pub(crate) fn type_name(name: &str) -> Result<CString> {
    c_string(name, "the name of a layer type")
}
