//! Inputs of a run beside x, and outputs beside y.

use crate::constants::Constants;
use crate::profile::Profile;
use crate::shape::Shape;
use crate::sys;
use crate::view::ViewMut;
use std::marker::PhantomData;

/// Inputs of a run beside x, and outputs beside y.
///
/// Making one costs nothing: make it anew for each run.
#[derive(Default)]
pub struct Run<'r> {
    raw: sys::sl_run_options,
    borrowed: PhantomData<&'r mut ()>,
}

impl<'r> Run<'r> {
    /// A run of x alone, into y alone.
    #[inline]
    pub fn new() -> Self {
        Run::default()
    }

    /// Reads these constants.
    ///
    /// A whole run takes them in any order, each whole. A step takes them in the order of the state's options: the share
    /// of its block of a streamed one, all of any other.
    pub fn constants(mut self, constants: &'r Constants<'_>) -> Self {
        let (pointer, count) = constants.raw();
        self.raw.constants = pointer;
        self.raw.num_constants = count;
        self
    }

    /// Writes these auxiliary outputs.
    pub fn emits(mut self, emits: &'r mut Emits<'_>) -> Self {
        self.raw.emits = emits.raw.as_mut_ptr();
        self.raw.num_emits = emits.raw.len() as i64;
        self
    }

    /// Records what each layer costs. Such a run may allocate.
    pub fn profile(mut self, profile: &'r mut Profile) -> Self {
        self.raw.profile = profile.as_ptr();
        self
    }

    /// A run with the constants of this one, to ask for shapes.
    pub(crate) fn constants_only(&self) -> Run<'_> {
        let mut out = Run::new();
        out.raw.constants = self.raw.constants;
        out.raw.num_constants = self.raw.num_constants;
        out
    }

    /// The constants alone, as pointer and count.
    pub(crate) fn raw_constants(&self) -> (*const sys::sl_constant, i64) {
        (self.raw.constants, self.raw.num_constants)
    }

    pub(crate) fn from_raw(raw: sys::sl_run_options) -> Self {
        Run {
            raw,
            borrowed: PhantomData,
        }
    }

    /// The struct for C; null, which costs the call nothing, if it says nothing.
    #[inline]
    pub(crate) fn raw(&self) -> *const sys::sl_run_options {
        let raw = &self.raw;
        let is_empty = raw.constants.is_null()
            && raw.emits.is_null()
            && raw.state.is_null()
            && raw.profile.is_null();
        if is_empty {
            std::ptr::null()
        } else {
            raw
        }
    }

    pub(crate) fn with_state(mut self, state: *mut sys::sl_state) -> Self {
        self.raw.state = state;
        self
    }
}

/// Memory for the auxiliary outputs of a run, in the order of [`Layer::emit_shapes`](crate::Layer::emit_shapes): either
/// none, or one entry for each.
///
/// ```
/// use sequence_layers::{Emits, Layer, Mode, Run, Tensor};
///
/// let layer = Layer::from_config(
///     r#"{"type": "Serial", "layers": [{"type": "Emit", "name": "before"}, {"type": "Abs"}]}"#,
/// )?;
/// let x = Tensor::from_values(&[-1f32, 2.0], &[1, 2])?;
/// let shapes = layer.emit_shapes(Mode::Layer, &x.view(), Run::new())?;
/// assert_eq!(shapes.len(), 1);
/// let mut before = Tensor::zeros(&shapes[0].shape)?;
/// let mut emits = Emits::new();
/// emits.push(before.view_mut());
/// let y = layer.apply_new(&x.view(), Run::new().emits(&mut emits))?;
/// assert_eq!(y.values::<f32>()?, [1.0, 2.0]);
/// assert_eq!(before.values::<f32>()?, [-1.0, 2.0]);
/// # Ok::<(), sequence_layers::Error>(())
/// ```
#[derive(Default)]
pub struct Emits<'a> {
    raw: Vec<sys::sl_sequence>,
    borrowed: PhantomData<&'a mut [u8]>,
}

// SAFETY: exclusive slices.
unsafe impl Send for Emits<'_> {}

impl<'a> Emits<'a> {
    /// No entry yet.
    pub fn new() -> Self {
        Emits::default()
    }

    /// Adds memory for the next auxiliary output.
    pub fn push(&mut self, mut emit: ViewMut<'a>) {
        self.raw.push(*emit.raw_mut());
    }

    /// Leaves out the next auxiliary output.
    pub fn skip(&mut self) {
        self.raw.push(sys::sl_sequence::default());
    }
}

impl<'a> FromIterator<ViewMut<'a>> for Emits<'a> {
    fn from_iter<I: IntoIterator<Item = ViewMut<'a>>>(emits: I) -> Self {
        let mut out = Emits::new();
        emits.into_iter().for_each(|emit| out.push(emit));
        out
    }
}

/// An auxiliary output: its path and its shape.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmitShape {
    /// Its path in the model, such as `attention.probabilities`.
    pub path: String,
    /// Its shape. It has a mask like y.
    pub shape: Shape,
}
