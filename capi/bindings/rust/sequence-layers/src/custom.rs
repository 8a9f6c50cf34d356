//! Layers written in Rust.

use crate::dtype::Element;
use crate::error::{c_string, check, make, optional_str, Error, Result};
use crate::layer::{type_name, types_of, ReceptiveField};
use crate::shape::{ChannelSpec, Shape};
use crate::sys;
use crate::view::{View, ViewMut};
use std::any::Any;
use std::fmt;
use std::mem::{align_of, size_of};
use std::os::raw::{c_char, c_void};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::Arc;

/// Makes the layers of a type; kept alive by the registry and by the models.
pub(crate) type Factory = Arc<dyn Any + Send + Sync>;

type Create<L> = dyn Fn(&str, &WeightSource<'_>) -> Result<L> + Send + Sync;

struct Maker<L>(Box<Create<L>>);

/// Properties of a custom layer. The default is a pointwise layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Properties {
    /// Whether it cannot step.
    pub layer_wise_only: bool,
    /// Input steps of which the time of a step is a multiple.
    pub block_size: usize,
    /// Output steps for each input step: numerator and denominator.
    pub output_ratio: (usize, usize),
    /// In input steps.
    pub input_latency: usize,
    /// In output steps; `None`: the input latency times the output ratio, rounded down.
    pub output_latency: Option<usize>,
    /// Input steps that can affect an output step.
    pub receptive_field: ReceptiveField,
    /// Whether valid output steps depend on the values of invalid input steps, so that a model with such a layer takes
    /// zeros for the invalid steps of its own input.
    pub reads_invalid_steps: bool,
    /// Whether the state also advances on invalid steps, so that behind a layer with latency steps differ from whole
    /// runs.
    pub counts_invalid_steps: bool,
}

impl Default for Properties {
    fn default() -> Self {
        Properties {
            layer_wise_only: false,
            block_size: 1,
            output_ratio: (1, 1),
            input_latency: 0,
            output_latency: None,
            receptive_field: ReceptiveField {
                start: Some(0),
                end: Some(0),
            },
            reads_invalid_steps: false,
            counts_invalid_steps: false,
        }
    }
}

impl Properties {
    fn write(&self, out: &mut sys::sl_layer_properties) {
        let size = |value: usize| i64::try_from(value).unwrap_or(i64::MAX);
        out.layer_wise_only = i32::from(self.layer_wise_only);
        out.block_size = size(self.block_size);
        out.output_ratio_numerator = size(self.output_ratio.0);
        out.output_ratio_denominator = size(self.output_ratio.1);
        out.input_latency = size(self.input_latency);
        // Zero is the default there, and a negative number none.
        out.output_latency = match self.output_latency {
            None => 0,
            Some(0) => -1,
            Some(steps) => size(steps),
        };
        let (start, end) = self.receptive_field.raw();
        out.receptive_field_start = start;
        out.receptive_field_end = end;
        out.reads_invalid_steps = i32::from(self.reads_invalid_steps);
        out.counts_invalid_steps = i32::from(self.counts_invalid_steps);
    }
}

/// A layer written in Rust. Once its type is in a [`Registry`], it can be used in any config, inside any combinator,
/// layer-wise and step-wise.
///
/// Views have contiguous values and masks. Where the output ratio is one, y's mask is a copy of x's, and where it is
/// another one, all of it is 1; it may be changed. A panic in any method becomes an error of [`Status::Callback`](crate::Status::Callback).
///
/// ```
/// use sequence_layers::*;
///
/// /// y[t] = decay * y[t - 1] + x[t], for each channel of float32.
/// struct LeakyIntegrator {
///     decay: f32,
/// }
///
/// impl LeakyIntegrator {
///     fn integrate(&self, last: &mut [f32], x: &View<'_>, y: &mut ViewMut<'_>) -> Result<()> {
///         let (time, channels) = (x.shape().dims()[1], x.shape().dims()[2]);
///         let (x, mask, y) = (x.values::<f32>()?, x.mask().unwrap(), y.values_mut::<f32>()?);
///         for (step, (x, y)) in x.chunks(channels).zip(y.chunks_mut(channels)).enumerate() {
///             for channel in 0..channels {
///                 let memory = &mut last[step / time * channels + channel];
///                 let input = if mask[step] != 0 { x[channel] } else { 0.0 };  // an invalid step holds anything
///                 *memory = self.decay * *memory + input;
///                 y[channel] = *memory;
///             }
///         }
///         Ok(())
///     }
/// }
///
/// impl CustomLayer for LeakyIntegrator {
///     fn properties(&self) -> Result<Properties> {
///         let mut properties = Properties::default();
///         properties.receptive_field.start = None;
///         Ok(properties)
///     }
///     fn state_size(&self, input: &ChannelSpec) -> Result<usize> {
///         Ok(input.shape().iter().product::<usize>() * 4)
///     }
///     fn layer(&self, x: &View<'_>, y: &mut ViewMut<'_>) -> Result<()> {
///         let mut last = vec![0.0; x.shape().dims()[0] * x.shape().dims()[2]];
///         self.integrate(&mut last, x, y)
///     }
///     fn step(&self, state: &mut CustomState<'_>, x: &View<'_>, y: &mut ViewMut<'_>) -> Result<()> {
///         self.integrate(state.values_mut()?, x, y)
///     }
/// }
///
/// let mut registry = Registry::new()?;
/// registry.add("LeakyIntegrator", |_config, weights| {
///     let decay = weights.find("decay")?.to_vec::<f32>()?[0];
///     if decay >= 1.0 {
///         return Err(Error::new(Status::Weights, format!("a decay of {} does not decay", decay)));
///     }
///     Ok(LeakyIntegrator { decay })
/// })?;
///
/// let mut weights = Weights::new()?;
/// weights.add("params.decay", &View::array(&[0.5f32], &[])?)?;
/// let options = LayerOptions::new().registry(&registry);
/// let layer = Layer::create(r#"{"type": "LeakyIntegrator"}"#, Some(&weights), &options)?;
/// let x = Tensor::from_values(&[1f32, 1.0, 1.0], &[1, 3, 1])?;
/// assert_eq!(layer.apply_new(&x.view(), Run::new())?.values::<f32>()?, [1.0, 1.5, 1.75]);
/// # Ok::<(), sequence_layers::Error>(())
/// ```
pub trait CustomLayer: Send + Sync + Sized + 'static {
    /// Its properties, which are asked for once. Default: those of a pointwise layer.
    ///
    /// # Errors
    /// Any; the creation of the model then fails.
    fn properties(&self) -> Result<Properties> {
        Ok(Properties::default())
    }

    /// The output's channel spec for that input, which is asked for once. Default: that of the input.
    ///
    /// # Errors
    /// Any; use [`Status::Shape`](crate::Status::Shape) for inputs that the layer cannot take.
    fn output_spec(&self, input: &ChannelSpec) -> Result<ChannelSpec> {
        Ok(*input)
    }

    /// Bytes of state that one item of a batch needs for that input, which are asked for once. The first item's state is
    /// aligned to 64 bytes, and the next ones follow it. Default: none.
    ///
    /// # Errors
    /// As [`output_spec`](CustomLayer::output_spec).
    fn state_size(&self, _input: &ChannelSpec) -> Result<usize> {
        Ok(0)
    }

    /// Sets the state of one item, which is zero, to the start of a stream. Default: it stays zero.
    ///
    /// # Errors
    /// Any; the step then fails.
    fn state_init(&self, _input: &ChannelSpec, _state: &mut CustomState<'_>) -> Result<()> {
        Ok(())
    }

    /// Runs a whole sequence.
    ///
    /// # Errors
    /// Any; the run then fails.
    fn layer(&self, x: &View<'_>, y: &mut ViewMut<'_>) -> Result<()>;

    /// Runs a block, and must be real-time safe if streams of it are to be. Making a [`State`](crate::State) runs it a few
    /// times on zeros, and then sets the state anew. Default: [`layer`](CustomLayer::layer), for a layer without state.
    ///
    /// # Errors
    /// Any; the step then fails.
    fn step(&self, _state: &mut CustomState<'_>, x: &View<'_>, y: &mut ViewMut<'_>) -> Result<()> {
        self.layer(x, y)
    }
}

/// The state of a custom layer, item after item.
pub struct CustomState<'a> {
    bytes: &'a mut [u8],
    item_size: usize,
}

impl CustomState<'_> {
    /// The bytes of all items.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        self.bytes
    }

    /// The bytes of one item.
    ///
    /// # Panics
    /// If there is no such item.
    pub fn item_mut(&mut self, item: usize) -> &mut [u8] {
        &mut self.bytes[item * self.item_size..][..self.item_size]
    }

    /// The numbers of all items, where the state is made of numbers of one type.
    ///
    /// # Errors
    /// [`Status::InvalidArgument`](crate::Status::InvalidArgument) if the bytes are not a multiple of that type.
    pub fn values_mut<T: Element>(&mut self) -> Result<&mut [T]> {
        let pointer = self.bytes.as_mut_ptr();
        let len = self.bytes.len();
        if len % size_of::<T>() != 0 || (len > 0 && pointer as usize % align_of::<T>() != 0) {
            return Err(Error::invalid(format!(
                "a state of {} bytes is not made of {}",
                len,
                T::DTYPE
            )));
        }
        if len == 0 {
            return Ok(&mut []);
        }
        // SAFETY: aligned and of the right size, and any bits are a number.
        Ok(unsafe { slice::from_raw_parts_mut(pointer.cast::<T>(), len / size_of::<T>()) })
    }
}

impl fmt::Debug for CustomState<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CustomState({} bytes)", self.bytes.len())
    }
}

/// Gives a custom layer the tensors that belong to it, while it is being created.
pub struct WeightSource<'a>(&'a sys::sl_weight_source);

impl<'a> WeightSource<'a> {
    /// The tensor `name`, such as `kernel`, of the collection `params` under the layer's own path.
    ///
    /// # Errors
    /// [`Status::Weights`](crate::Status::Weights) if there is none.
    pub fn find(&self, name: &str) -> Result<View<'a>> {
        self.find_in("params", name)
    }

    /// The tensor of another collection.
    ///
    /// # Errors
    /// As [`find`](WeightSource::find).
    pub fn find_in(&self, collection: &str, name: &str) -> Result<View<'a>> {
        let collection = c_string(collection, "the name of a collection")?;
        let name = c_string(name, "the name of a tensor")?;
        let mut view = sys::sl_sequence::default();
        // SAFETY: all pointers are valid; the view outlives the creation of the layer.
        unsafe {
            check(|error| {
                let (collection, name) = (collection.as_ptr(), name.as_ptr());
                sys::sl_weight_source_find(self.0, collection, name, &mut view, error)
            })?;
            Ok(View::from_raw(view))
        }
    }
}

impl fmt::Debug for WeightSource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeightSource")
    }
}

/// Layer types: the built-in ones and the program's own.
pub struct Registry {
    handle: NonNull<sys::sl_registry>,
    factories: Vec<Factory>,
}

// SAFETY: a registry may be freed on any thread.
unsafe impl Send for Registry {}
// SAFETY: all that takes `&self` is [any-thread].
unsafe impl Sync for Registry {}

impl Registry {
    /// The built-in layers.
    ///
    /// # Errors
    /// [`Status::OutOfMemory`](crate::Status::OutOfMemory).
    pub fn new() -> Result<Self> {
        // SAFETY: `make` gives valid pointers.
        let handle = make(|out, error| unsafe { sys::sl_registry_create(out, error) })?;
        Ok(Registry {
            handle,
            factories: Vec::new(),
        })
    }

    /// Makes a custom layer usable as `layer_type`. `create` makes one of its JSON object, and of its weights.
    ///
    /// # Errors
    /// [`Status::InvalidArgument`](crate::Status::InvalidArgument) also for a name that is taken.
    pub fn add<L: CustomLayer>(
        &mut self,
        layer_type: &str,
        create: impl Fn(&str, &WeightSource<'_>) -> Result<L> + Send + Sync + 'static,
    ) -> Result<()> {
        let name = type_name(layer_type)?;
        let maker = Arc::new(Maker::<L>(Box::new(create)));
        let callbacks = sys::sl_layer_callbacks {
            user_data: Arc::as_ptr(&maker) as *mut c_void,
            create: Some(create_layer::<L>),
            destroy: Some(destroy_layer::<L>),
            properties: Some(properties::<L>),
            output_spec: Some(output_spec::<L>),
            state_size: Some(state_size::<L>),
            state_init: Some(state_init::<L>),
            layer: Some(run_layer::<L>),
            step: Some(run_step::<L>),
            ..Default::default()
        };
        // SAFETY: all pointers are valid; the registry and its models keep the maker alive.
        check(|error| unsafe {
            sys::sl_registry_add(self.as_ptr(), name.as_ptr(), &callbacks, error)
        })?;
        self.factories.push(maker);
        Ok(())
    }

    /// The names of its layer types.
    pub fn types(&self) -> Vec<String> {
        types_of(self.as_ptr())
    }

    pub(crate) fn factories(&self) -> Vec<Factory> {
        self.factories.clone()
    }

    pub(crate) fn as_ptr(&self) -> *mut sys::sl_registry {
        self.handle.as_ptr()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // SAFETY: the handle is valid. Models made with it live on.
        unsafe { sys::sl_registry_free(self.as_ptr()) }
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Registry({} own types)", self.factories.len())
    }
}

/// A layer's answers, for each input spec that it was asked about. The library sizes memory by one answer and asks
/// again later, so a layer must not get the chance to change its mind. Answers are only ever added, and found without a
/// lock.
struct Answers<T> {
    first: AtomicPtr<Answer<T>>,
}

struct Answer<T> {
    input: ChannelSpec,
    value: T,
    next: *mut Answer<T>,
}

impl<T: Copy> Answers<T> {
    fn new() -> Self {
        Answers {
            first: AtomicPtr::new(ptr::null_mut()),
        }
    }

    fn known(&self, input: &ChannelSpec) -> Option<T> {
        let mut next = self.first.load(Ordering::Acquire);
        // SAFETY: answers in the list live as long as the list, and do not change.
        while let Some(answer) = unsafe { next.as_ref() } {
            if answer.input == *input {
                return Some(answer.value);
            }
            next = answer.next;
        }
        None
    }

    fn get(&self, input: &ChannelSpec, ask: impl FnOnce() -> Result<T>) -> Result<T> {
        if let Some(value) = self.known(input) {
            return Ok(value);
        }
        let mut answer = Box::new(Answer {
            input: *input,
            value: ask()?,
            next: ptr::null_mut(),
        });
        loop {
            let first = self.first.load(Ordering::Acquire);
            // Another thread may have asked meanwhile.
            if let Some(value) = self.known(input) {
                return Ok(value);
            }
            answer.next = first;
            let value = answer.value;
            let raw = Box::into_raw(answer);
            match self
                .first
                .compare_exchange(first, raw, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return Ok(value),
                // SAFETY: it came from `into_raw`, and nobody else saw it.
                Err(_) => answer = unsafe { Box::from_raw(raw) },
            }
        }
    }
}

impl<T> Drop for Answers<T> {
    fn drop(&mut self) {
        let mut next = *self.first.get_mut();
        while !next.is_null() {
            // SAFETY: each came from `Box::into_raw`.
            next = unsafe { Box::from_raw(next) }.next;
        }
    }
}

struct Instance<L> {
    layer: L,
    output_specs: Answers<ChannelSpec>,
    state_sizes: Answers<usize>,
}

impl<L: CustomLayer> Instance<L> {
    /// # Safety
    /// `instance` must have come from `create_layer::<L>`.
    unsafe fn of<'a>(instance: *const c_void) -> &'a Self {
        &*(instance as *const Self)
    }

    fn state_size(&self, input: &ChannelSpec) -> Result<usize> {
        self.state_sizes.get(input, || self.layer.state_size(input))
    }

    /// # Safety
    /// `memory` must hold the state of `items` items for that input.
    unsafe fn state<'a>(
        &self,
        input: &ChannelSpec,
        memory: *mut c_void,
        items: usize,
    ) -> Result<CustomState<'a>> {
        let item_size = self.state_size(input)?;
        let bytes: &mut [u8] = if item_size == 0 || memory.is_null() {
            &mut []
        } else {
            slice::from_raw_parts_mut(memory.cast(), item_size * items)
        };
        Ok(CustomState { bytes, item_size })
    }
}

/// Runs what a callback does, and reports its error or its panic.
///
/// # Safety
/// `error` must be one that the library gives to a callback.
unsafe fn guarded(error: *mut sys::sl_error, run: impl FnOnce() -> Result<()>) -> sys::sl_status {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(())) => sys::SL_STATUS_OK,
        Ok(Err(failure)) => report(error, failure.code(), failure.message()),
        Err(payload) => {
            let said = payload
                .downcast_ref::<&str>()
                .copied()
                .or_else(|| payload.downcast_ref::<String>().map(String::as_str));
            let message = format!("panicked: {}", said.unwrap_or("for no told reason"));
            let status = report(error, sys::SL_STATUS_CALLBACK, &message);
            drop_quietly(payload);
            status
        }
    }
}

/// Drops a value whose destructor may panic. What that panic leaves may do so too.
fn drop_quietly<T>(value: T) {
    let left = catch_unwind(AssertUnwindSafe(move || drop(value)))
        .or_else(|payload| catch_unwind(AssertUnwindSafe(move || drop(payload))));
    std::mem::forget(left);
}

/// # Safety
/// `error` must be one that the library gives to a callback.
unsafe fn report(error: *mut sys::sl_error, status: i32, message: &str) -> i32 {
    let size = (*error).struct_size as usize;
    let start = ptr::addr_of_mut!((*error).message).cast::<u8>();
    let capacity = size.saturating_sub(start as usize - error as usize);
    (*error).code = status;
    if capacity > 0 {
        let mut len = message.len().min(capacity - 1);
        while !message.is_char_boundary(len) {
            len -= 1;
        }
        ptr::copy_nonoverlapping(message.as_ptr(), start, len);
        start.add(len).write(0);
    }
    status
}

unsafe extern "C" fn create_layer<L: CustomLayer>(
    user_data: *mut c_void,
    config: *const c_char,
    weights: *const sys::sl_weight_source,
    instance: *mut *mut c_void,
    error: *mut sys::sl_error,
) -> sys::sl_status {
    guarded(error, || {
        let maker = &*(user_data as *const Maker<L>);
        let config = optional_str(config).unwrap_or("");
        let made = Box::new(Instance {
            layer: maker.0(config, &WeightSource(&*weights))?,
            output_specs: Answers::new(),
            state_sizes: Answers::new(),
        });
        *instance = Box::into_raw(made).cast();
        Ok(())
    })
}

unsafe extern "C" fn destroy_layer<L: CustomLayer>(instance: *mut c_void) {
    drop_quietly(Box::from_raw(instance.cast::<Instance<L>>()));
}

unsafe extern "C" fn properties<L: CustomLayer>(
    instance: *const c_void,
    out: *mut sys::sl_layer_properties,
    error: *mut sys::sl_error,
) -> sys::sl_status {
    guarded(error, || {
        Instance::<L>::of(instance)
            .layer
            .properties()?
            .write(&mut *out);
        Ok(())
    })
}

unsafe extern "C" fn output_spec<L: CustomLayer>(
    instance: *const c_void,
    input: *const sys::sl_channel_spec,
    out: *mut sys::sl_channel_spec,
    error: *mut sys::sl_error,
) -> sys::sl_status {
    guarded(error, || {
        let instance = Instance::<L>::of(instance);
        let input = ChannelSpec::from_raw(&*input);
        let spec = instance
            .output_specs
            .get(&input, || instance.layer.output_spec(&input))?
            .raw();
        (*out).dtype = spec.dtype;
        (*out).rank = spec.rank;
        (*out).dims = spec.dims;
        Ok(())
    })
}

unsafe extern "C" fn state_size<L: CustomLayer>(
    instance: *const c_void,
    input: *const sys::sl_channel_spec,
    bytes: *mut usize,
    error: *mut sys::sl_error,
) -> sys::sl_status {
    guarded(error, || {
        let input = ChannelSpec::from_raw(&*input);
        *bytes = Instance::<L>::of(instance).state_size(&input)?;
        Ok(())
    })
}

unsafe extern "C" fn state_init<L: CustomLayer>(
    instance: *const c_void,
    input: *const sys::sl_channel_spec,
    state: *mut c_void,
    error: *mut sys::sl_error,
) -> sys::sl_status {
    guarded(error, || {
        let instance = Instance::<L>::of(instance);
        let input = ChannelSpec::from_raw(&*input);
        let size = instance.state_size(&input)?;
        if size > 0 {
            ptr::write_bytes(state.cast::<u8>(), 0, size);
        }
        let mut state = instance.state(&input, state, 1)?;
        instance.layer.state_init(&input, &mut state)
    })
}

unsafe extern "C" fn run_layer<L: CustomLayer>(
    instance: *const c_void,
    x: *const sys::sl_sequence,
    y: *mut sys::sl_sequence,
    error: *mut sys::sl_error,
) -> sys::sl_status {
    guarded(error, || {
        let (x, mut y) = (View::from_raw(*x), ViewMut::from_raw(*y));
        Instance::<L>::of(instance).layer.layer(&x, &mut y)
    })
}

unsafe extern "C" fn run_step<L: CustomLayer>(
    instance: *const c_void,
    state: *mut c_void,
    x: *const sys::sl_sequence,
    y: *mut sys::sl_sequence,
    error: *mut sys::sl_error,
) -> sys::sl_status {
    guarded(error, || {
        let instance = Instance::<L>::of(instance);
        let shape = Shape::from_raw(&*x);
        let mut state = instance.state(&shape.channels(), state, shape.dims()[0])?;
        let (x, mut y) = (View::from_raw(*x), ViewMut::from_raw(*y));
        instance.layer.step(&mut state, &x, &mut y)
    })
}
