//! Inputs that a model reads beside x.

use crate::dtype::DType;
use crate::error::{c_enum, c_string, Result};
use crate::sys;
use crate::view::View;
use std::ffi::CString;
use std::marker::PhantomData;
use std::os::raw::c_char;

c_enum! {
    /// Kinds of constants.
    ConstantKind {
        /// A sequence or an array.
        Any = SL_CONSTANT_KIND_ANY,
        /// A sequence `[batch, time, channels...]`.
        Sequence = SL_CONSTANT_KIND_SEQUENCE,
        /// An array `[batch, ...]`, without time.
        Array = SL_CONSTANT_KIND_ARRAY,
    }
}

/// A constant that a model reads. Its batch is that of x.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConstantInfo {
    /// Its name.
    pub name: String,
    /// Path of the first layer that reads it.
    pub layer: String,
    /// Sequence or array.
    pub kind: ConstantKind,
    /// Whether the model cannot do without.
    pub required: bool,
    /// Whether a stream takes it block by block along with x, or whole in every step.
    pub streamed: bool,
    /// Type of its elements, if it is known.
    pub dtype: Option<DType>,
    /// Its shape without batch and, for a sequence, time; a single dim may be unknown too.
    pub shape: Option<Vec<Option<usize>>>,
}

impl ConstantInfo {
    /// # Safety
    /// The strings must be alive.
    pub(crate) unsafe fn from_raw(raw: &sys::sl_constant_info) -> Self {
        let dims = |rank: usize| {
            let known = |&dim: &i64| usize::try_from(dim).ok();
            raw.dims[..rank.min(raw.dims.len())]
                .iter()
                .map(known)
                .collect()
        };
        ConstantInfo {
            name: crate::error::lossy(raw.name),
            layer: crate::error::lossy(raw.layer),
            kind: ConstantKind::from_code(raw.kind),
            required: raw.required != 0,
            streamed: raw.streamed != 0,
            dtype: (raw.dtype >= 0).then(|| DType::from_code(raw.dtype)),
            shape: usize::try_from(raw.rank).ok().map(dims),
        }
    }
}

/// Named inputs that a model reads beside x: the source of a cross-attention, a conditioning, positions.
///
/// ```
/// use sequence_layers::{Constants, Layer, Run, Tensor, View};
///
/// let layer = Layer::from_config(
///     r#"{"type": "Conditioning", "conditioning_name": "bias", "projection": "identity", "combination": "add"}"#,
/// )?;
/// let x = Tensor::from_values(&[1f32, 2.0, 3.0, 4.0], &[1, 2, 2])?;
/// let bias = [10f32, 20.0];
/// let constants = Constants::new().with("bias", View::array(&bias, &[1, 2])?)?;
/// let y = layer.apply_new(&x.view(), Run::new().constants(&constants))?;
/// assert_eq!(y.values::<f32>()?, [11.0, 22.0, 13.0, 24.0]);
/// # Ok::<(), sequence_layers::Error>(())
/// ```
#[derive(Default)]
pub struct Constants<'a> {
    names: Vec<CString>,
    raw: Vec<sys::sl_constant>,
    values: PhantomData<View<'a>>,
}

// SAFETY: names that it owns, and shared slices.
unsafe impl Send for Constants<'_> {}
// SAFETY: names that it owns, and shared slices.
unsafe impl Sync for Constants<'_> {}

impl<'a> Constants<'a> {
    /// No constants.
    pub fn new() -> Self {
        Constants::default()
    }

    /// These and one more.
    ///
    /// # Errors
    /// As [`set`](Constants::set).
    pub fn with(mut self, name: &str, value: View<'a>) -> Result<Self> {
        self.set(name, value)?;
        Ok(self)
    }

    /// Adds a constant, or gives another value to one that is there, which allocates nothing: so does a stream take the
    /// next part of a streamed one.
    ///
    /// # Errors
    /// [`Status::InvalidArgument`](crate::Status::InvalidArgument) for a name with a zero byte.
    pub fn set(&mut self, name: &str, value: View<'a>) -> Result<()> {
        if let Some(index) = self.index(name) {
            self.raw[index].value = *value.raw();
            return Ok(());
        }
        let name = c_string(name, "the name of a constant")?;
        self.raw.push(sys::sl_constant {
            name: name.as_ptr(),
            value: *value.raw(),
        });
        self.names.push(name);
        Ok(())
    }

    /// Number of constants.
    pub fn len(&self) -> usize {
        self.raw.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    pub(crate) fn index(&self, name: &str) -> Option<usize> {
        self.names
            .iter()
            .position(|known| known.as_bytes() == name.as_bytes())
    }

    /// The name at an index that is there, which lives in the heap as long as these constants.
    pub(crate) fn name(&self, index: usize) -> *const c_char {
        self.raw[index].name
    }

    /// The value at an index that is there.
    pub(crate) fn view(&self, index: usize) -> View<'a> {
        // SAFETY: it came from a view.
        unsafe { View::from_raw(self.raw[index].value) }
    }

    /// These constants without their values, for what reads shapes only.
    pub(crate) fn shapes(&self) -> Constants<'static> {
        let mut out = Constants::new();
        for (index, name) in self.names.iter().enumerate() {
            let name = name.clone(); // its text does not move with it
            out.raw.push(sys::sl_constant {
                name: name.as_ptr(),
                value: self.view(index).shape().raw(),
            });
            out.names.push(name);
        }
        out
    }

    pub(crate) fn raw(&self) -> (*const sys::sl_constant, i64) {
        (self.raw.as_ptr(), self.raw.len() as i64)
    }
}
