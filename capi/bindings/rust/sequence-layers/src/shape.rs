//! Channel specs and shapes: plain values, without the heap.

use crate::dtype::DType;
use crate::error::{to_i64, to_usize, Error, Result};
use crate::sys;
use std::fmt;

/// Maximum rank of a sequence or an array.
pub const MAX_RANK: usize = sys::SL_MAX_RANK as usize;
/// Maximum rank of the channels of a timestep.
pub const MAX_CHANNEL_RANK: usize = sys::SL_MAX_CHANNEL_RANK as usize;

/// Content of one timestep: dtype and channel shape, without batch and time.
///
/// ```
/// use sequence_layers::{ChannelSpec, DType};
///
/// let spec = ChannelSpec::new(DType::Float32, &[2, 80])?;
/// assert_eq!(spec.shape(), [2, 80]);
/// assert_eq!(ChannelSpec::default().shape(), []);  // one float32
/// # Ok::<(), sequence_layers::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ChannelSpec {
    dtype: DType,
    rank: usize,
    dims: [usize; MAX_CHANNEL_RANK],
}

impl ChannelSpec {
    /// A spec of that shape, which is empty for one scalar a timestep.
    ///
    /// # Errors
    /// [`Status::InvalidArgument`](crate::Status::InvalidArgument) for a rank over [`MAX_CHANNEL_RANK`].
    pub fn new(dtype: DType, shape: &[usize]) -> Result<Self> {
        let (rank, dims) = fixed(shape)?;
        Ok(ChannelSpec { dtype, rank, dims })
    }

    /// Type of the elements.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The channels' shape.
    pub fn shape(&self) -> &[usize] {
        &self.dims[..self.rank]
    }

    pub(crate) fn raw(&self) -> sys::sl_channel_spec {
        let mut raw = sys::sl_channel_spec {
            dtype: self.dtype.code(),
            rank: self.rank as i32,
            ..Default::default()
        };
        copy_dims(self.shape(), &mut raw.dims);
        raw
    }

    pub(crate) fn from_raw(raw: &sys::sl_channel_spec) -> Self {
        let (rank, dims) = from_c(raw.rank, &raw.dims);
        ChannelSpec {
            dtype: DType::from_code(raw.dtype),
            rank,
            dims,
        }
    }
}

/// One `f32` a timestep.
impl Default for ChannelSpec {
    fn default() -> Self {
        ChannelSpec {
            dtype: DType::Float32,
            rank: 0,
            dims: [0; MAX_CHANNEL_RANK],
        }
    }
}

impl fmt::Debug for ChannelSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", self.dtype, self.shape())
    }
}

/// Dtype and dims of a sequence `[batch, time, channels...]`, or of an array, which has no time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    dtype: DType,
    is_array: bool,
    rank: usize,
    dims: [usize; MAX_RANK],
}

impl Shape {
    /// Shape of a sequence.
    ///
    /// # Errors
    /// [`Status::InvalidArgument`](crate::Status::InvalidArgument) for a rank below 2 or over [`MAX_RANK`].
    #[inline]
    pub fn sequence(dtype: DType, dims: &[usize]) -> Result<Self> {
        if dims.len() < 2 {
            return Err(Error::invalid(format!(
                "a sequence of shape {:?}: expected [batch, time, channels...]",
                dims
            )));
        }
        Shape::new(dtype, dims, false)
    }

    /// Shape of an array: a tensor without time, such as a weight.
    ///
    /// # Errors
    /// [`Status::InvalidArgument`](crate::Status::InvalidArgument) for a rank over [`MAX_RANK`].
    pub fn array(dtype: DType, dims: &[usize]) -> Result<Self> {
        Shape::new(dtype, dims, true)
    }

    #[inline]
    fn new(dtype: DType, dims: &[usize], is_array: bool) -> Result<Self> {
        let (rank, dims) = fixed(dims)?;
        Ok(Shape {
            dtype,
            is_array,
            rank,
            dims,
        })
    }

    /// Type of the elements.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// All dims, batch and time included.
    #[inline]
    pub fn dims(&self) -> &[usize] {
        &self.dims[..self.rank]
    }

    /// Whether it is an array.
    pub fn is_array(&self) -> bool {
        self.is_array
    }

    /// Number of elements, or `None` if that does not fit.
    #[inline]
    pub fn len(&self) -> Option<usize> {
        self.dims()
            .iter()
            .try_fold(1usize, |product, &dim| product.checked_mul(dim))
    }

    /// Whether it has no elements.
    pub fn is_empty(&self) -> bool {
        self.dims().contains(&0)
    }

    /// Timesteps of all items together, which is the size of a mask; 0 for an array.
    pub(crate) fn steps(&self) -> usize {
        if self.is_array {
            return 0;
        }
        self.dims[0].saturating_mul(self.dims[1])
    }

    /// Channel spec of a sequence.
    pub(crate) fn channels(&self) -> ChannelSpec {
        let mut spec = ChannelSpec {
            dtype: self.dtype,
            ..Default::default()
        };
        spec.rank = self.rank.saturating_sub(2);
        spec.dims[..spec.rank].copy_from_slice(&self.dims[2..2 + spec.rank]);
        spec
    }

    #[inline]
    pub(crate) fn raw(&self) -> sys::sl_sequence {
        let mut raw = sys::sl_sequence {
            dtype: self.dtype.code(),
            rank: self.rank as i32,
            is_array: i32::from(self.is_array),
            ..Default::default()
        };
        copy_dims(self.dims(), &mut raw.dims);
        raw
    }

    pub(crate) fn from_raw(raw: &sys::sl_sequence) -> Self {
        let (rank, dims) = from_c(raw.rank, &raw.dims);
        Shape {
            dtype: DType::from_code(raw.dtype),
            is_array: raw.is_array != 0,
            rank,
            dims,
        }
    }
}

impl fmt::Debug for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", self.dtype, self.dims())
    }
}

#[inline]
fn fixed<const N: usize>(dims: &[usize]) -> Result<(usize, [usize; N])> {
    let mut out = [0; N];
    let rank = dims.len();
    let room = out.get_mut(..rank).ok_or_else(|| {
        Error::invalid(format!("a shape of {} axes: expected at most {}", rank, N))
    })?;
    room.copy_from_slice(dims);
    Ok((rank, out))
}

#[inline]
fn copy_dims(dims: &[usize], out: &mut [i64]) {
    for (to, &from) in out.iter_mut().zip(dims) {
        *to = to_i64(from);
    }
}

fn from_c<const N: usize>(rank: i32, dims: &[i64; N]) -> (usize, [usize; N]) {
    let rank = usize::try_from(rank).unwrap_or(0).min(N);
    let mut out = dims.map(to_usize);
    out[rank..].fill(0); // whatever stands there, shapes are compared as a whole
    (rank, out)
}
