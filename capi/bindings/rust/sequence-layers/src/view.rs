//! Borrowed sequences and arrays, and owned ones.

use crate::dtype::{DType, Element};
use crate::error::{to_i64, Error, Result, Status};
use crate::shape::Shape;
use crate::sys;
use std::marker::PhantomData;
use std::{fmt, mem, ptr, slice};

/// Checks that `values` holds exactly `shape`.
#[inline]
fn check_len(len: usize, shape: &Shape, what: &str) -> Result<()> {
    if shape.len() == Some(len) {
        return Ok(());
    }
    Err(Error::new(
        Status::Shape,
        format!("{} {} for the shape {:?}", len, what, shape.dims()),
    ))
}

fn check_mask(len: usize, raw: &sys::sl_sequence) -> Result<()> {
    let shape = Shape::from_raw(raw);
    if !shape.is_array() && len == shape.steps() {
        return Ok(());
    }
    Err(Error::new(
        Status::Shape,
        format!("a mask of {} for the shape {:?}", len, shape.dims()),
    ))
}

/// Sets byte strides, given in elements, of a view of `len` elements. All that they reach must be among these, and no
/// two positions the same element if the view is `distinct`.
fn set_strides(
    raw: &mut sys::sl_sequence,
    strides: &[usize],
    len: usize,
    distinct: bool,
) -> Result<()> {
    let shape = Shape::from_raw(raw);
    let refuse = |why: &str| {
        let text = format!("strides {:?} of the shape {:?}: ", strides, shape.dims());
        Err(Error::new(Status::Shape, text + why))
    };
    if strides.len() != shape.dims().len() {
        return refuse("expected one for each axis");
    }
    let mut axes: Vec<(usize, usize)> = strides
        .iter()
        .copied()
        .zip(shape.dims().iter().copied())
        .filter(|&(_, dim)| dim > 1)
        .collect();
    if !axes.is_empty() && strides.iter().all(|&stride| stride == 0) {
        return refuse("all zero"); // which means contiguous to the library
    }
    axes.sort_unstable();
    let mut last = 0usize; // the last element that the axes so far reach
    for (stride, dim) in axes {
        if distinct && stride <= last {
            return refuse("positions overlap");
        }
        last = match stride
            .checked_mul(dim - 1)
            .and_then(|reach| reach.checked_add(last))
        {
            Some(sum) => sum,
            None => return refuse("they reach too far"),
        };
    }
    if !shape.is_empty() && last >= len {
        return refuse("they reach beyond the values");
    }
    let size = shape.dtype().size();
    for (to, &stride) in raw.strides.iter_mut().zip(strides) {
        *to = to_i64(stride.saturating_mul(size));
    }
    Ok(())
}

/// Whether the last axis is the fastest and no element is left out.
fn is_contiguous(raw: &sys::sl_sequence) -> bool {
    let shape = Shape::from_raw(raw);
    let rank = shape.dims().len();
    if raw.strides[..rank].iter().all(|&stride| stride == 0) {
        return true;
    }
    let mut expected = shape.dtype().size();
    for (axis, &dim) in shape.dims().iter().enumerate().rev() {
        if dim > 1 && raw.strides[axis] != to_i64(expected) {
            return false;
        }
        expected = expected.saturating_mul(dim);
    }
    true
}

/// Number of elements of a contiguous view of that type, aligned and with data.
fn typed_len<T: Element>(raw: &sys::sl_sequence) -> Result<usize> {
    let shape = Shape::from_raw(raw);
    if shape.dtype() != T::DTYPE {
        return Err(Error::new(
            Status::Shape,
            format!("elements are {}, not {}", shape.dtype(), T::DTYPE),
        ));
    }
    if raw.data.is_null() {
        return Err(Error::invalid("a shape without data"));
    }
    if !is_contiguous(raw) || raw.data as usize % mem::align_of::<T>() != 0 {
        return Err(Error::invalid("elements are not contiguous and aligned"));
    }
    shape
        .len()
        .ok_or_else(|| Error::invalid("a size that does not fit"))
}

/// A borrowed sequence `[batch, time, channels...]`, with a mask of its valid timesteps if it has one, or a borrowed
/// array, which has no time. Without a mask all timesteps are valid.
///
/// Masks are bytes, `[batch, time]`: 0 for an invalid timestep, 1 for a valid one.
///
/// ```
/// use sequence_layers::View;
///
/// let samples = [0.5f32; 6];
/// let x = View::new(&samples, &[2, 3])?.with_mask(&[1, 1, 0, 1, 0, 0])?;
/// assert_eq!(x.shape().dims(), [2, 3]);
/// assert!(View::new(&samples, &[2, 4]).is_err());
/// # Ok::<(), sequence_layers::Error>(())
/// ```
#[derive(Clone, Copy)]
pub struct View<'a> {
    raw: sys::sl_sequence,
    data: PhantomData<&'a [u8]>,
}

// SAFETY: it is a shared slice.
unsafe impl Send for View<'_> {}
// SAFETY: it is a shared slice.
unsafe impl Sync for View<'_> {}

impl<'a> View<'a> {
    /// A sequence of contiguous values, the last axis fastest.
    ///
    /// # Errors
    /// [`Status::Shape`] if `values` holds another number of elements, [`Status::InvalidArgument`] for an impossible rank.
    #[inline]
    pub fn new<T: Element>(values: &'a [T], dims: &[usize]) -> Result<Self> {
        let shape = Shape::sequence(T::DTYPE, dims)?;
        check_len(values.len(), &shape, "values")?;
        Ok(View::of(shape.raw(), values))
    }

    /// An array of contiguous values, the last axis fastest: a constant without time, or a weight.
    ///
    /// # Errors
    /// As [`new`](View::new).
    pub fn array<T: Element>(values: &'a [T], dims: &[usize]) -> Result<Self> {
        let shape = Shape::array(T::DTYPE, dims)?;
        check_len(values.len(), &shape, "values")?;
        Ok(View::of(shape.raw(), values))
    }

    /// A sequence whose neighbours on each axis are `strides` elements apart, beginning at the first value. It may
    /// leave values out, and may read values more than once.
    ///
    /// ```
    /// use sequence_layers::View;
    ///
    /// let frames = [0.0f32, 10.0, 1.0, 11.0, 2.0, 12.0]; // two interleaved channels
    /// let right = View::strided(&frames[1..], &[1, 3], &[0, 2])?;
    /// assert_eq!(right.to_vec::<f32>()?, [10.0, 11.0, 12.0]);
    /// # Ok::<(), sequence_layers::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Status::Shape`] if the strides reach beyond the values or are not one for each axis.
    pub fn strided<T: Element>(values: &'a [T], dims: &[usize], strides: &[usize]) -> Result<Self> {
        let mut raw = Shape::sequence(T::DTYPE, dims)?.raw();
        set_strides(&mut raw, strides, values.len(), false)?;
        Ok(View::of(raw, values))
    }

    /// A shape without values, for calls that read shapes only.
    pub fn of_shape(shape: &Shape) -> View<'static> {
        View {
            raw: shape.raw(),
            data: PhantomData,
        }
    }

    /// Gives the sequence a contiguous mask `[batch, time]`.
    ///
    /// # Errors
    /// [`Status::Shape`] for another size, or for an array.
    pub fn with_mask(mut self, mask: &'a [u8]) -> Result<Self> {
        check_mask(mask.len(), &self.raw)?;
        self.raw.mask = mask.as_ptr() as *mut u8;
        self.raw.mask_strides = [0, 0];
        Ok(self)
    }

    #[inline]
    fn of<T>(mut raw: sys::sl_sequence, values: &'a [T]) -> Self {
        raw.data = values.as_ptr() as *mut _;
        View {
            raw,
            data: PhantomData,
        }
    }

    /// Dtype and dims.
    pub fn shape(&self) -> Shape {
        Shape::from_raw(&self.raw)
    }

    /// The values, if they are contiguous.
    ///
    /// # Errors
    /// [`Status::Shape`] for another type, [`Status::InvalidArgument`] for values that are not contiguous, not aligned or
    /// not there.
    pub fn values<T: Element>(&self) -> Result<&'a [T]> {
        let len = typed_len::<T>(&self.raw)?;
        // SAFETY: the constructors and the library vouch for as many elements as the shape has.
        Ok(unsafe { slice::from_raw_parts(self.raw.data as *const T, len) })
    }

    /// A copy of the values, the last axis fastest, whatever their strides and alignment are.
    ///
    /// # Errors
    /// [`Status::Shape`] for another type, [`Status::InvalidArgument`] for a shape without data.
    pub fn to_vec<T: Element>(&self) -> Result<Vec<T>> {
        let shape = self.shape();
        if shape.dtype() != T::DTYPE || self.raw.data.is_null() {
            typed_len::<T>(&self.raw)?;
        }
        let mut offsets = vec![0isize];
        let mut stride = mem::size_of::<T>() as isize;
        let plain = is_contiguous(&self.raw);
        let mut strides = [0isize; crate::MAX_RANK];
        for (axis, &dim) in shape.dims().iter().enumerate().rev() {
            strides[axis] = if plain {
                stride
            } else {
                self.raw.strides[axis] as isize
            };
            stride = stride.wrapping_mul(dim as isize);
        }
        for (axis, &dim) in shape.dims().iter().enumerate() {
            offsets = offsets
                .iter()
                .flat_map(|base| (0..dim as isize).map(move |i| base + i * strides[axis]))
                .collect();
        }
        let data = self.raw.data as *const u8;
        let read = |&offset: &isize| {
            // SAFETY: the strides stay within the values, as was checked.
            unsafe { ptr::read_unaligned(data.offset(offset).cast::<T>()) }
        };
        Ok(offsets.iter().map(read).collect())
    }

    /// The mask, if there is a contiguous one.
    pub fn mask(&self) -> Option<&'a [u8]> {
        if self.raw.mask.is_null() || self.raw.mask_strides != [0, 0] {
            return None;
        }
        // SAFETY: `with_mask` and the library vouch for a byte for each step.
        Some(unsafe { slice::from_raw_parts(self.raw.mask, self.shape().steps()) })
    }

    #[inline]
    pub(crate) fn raw(&self) -> &sys::sl_sequence {
        &self.raw
    }

    /// # Safety
    /// The view must be readable for `'a`.
    pub(crate) unsafe fn from_raw(raw: sys::sl_sequence) -> Self {
        View {
            raw,
            data: PhantomData,
        }
    }
}

impl fmt::Debug for View<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "View({:?})", self.shape())
    }
}

/// A sequence or array to write to, borrowed. Its mask, if it has one, is written too.
///
/// ```
/// use sequence_layers::ViewMut;
///
/// let (mut samples, mut mask) = ([0f32; 4], [0; 4]);
/// let y = ViewMut::new(&mut samples, &[1, 4])?.with_mask(&mut mask)?;
/// # Ok::<(), sequence_layers::Error>(())
/// ```
pub struct ViewMut<'a> {
    raw: sys::sl_sequence,
    data: PhantomData<&'a mut [u8]>,
}

// SAFETY: it is an exclusive slice.
unsafe impl Send for ViewMut<'_> {}
// SAFETY: a shared reference to it only reads.
unsafe impl Sync for ViewMut<'_> {}

impl<'a> ViewMut<'a> {
    /// A sequence of contiguous values, the last axis fastest.
    ///
    /// # Errors
    /// As [`View::new`].
    #[inline]
    pub fn new<T: Element>(values: &'a mut [T], dims: &[usize]) -> Result<Self> {
        let shape = Shape::sequence(T::DTYPE, dims)?;
        check_len(values.len(), &shape, "values")?;
        Ok(ViewMut::of(shape.raw(), values))
    }

    /// A sequence whose neighbours on each axis are `strides` elements apart, as [`View::strided`], but with an element
    /// of its own for every position.
    ///
    /// # Errors
    /// [`Status::Shape`] if the strides reach beyond the values, may reach one twice, or are not one for each axis.
    pub fn strided<T: Element>(
        values: &'a mut [T],
        dims: &[usize],
        strides: &[usize],
    ) -> Result<Self> {
        let mut raw = Shape::sequence(T::DTYPE, dims)?.raw();
        set_strides(&mut raw, strides, values.len(), true)?;
        Ok(ViewMut::of(raw, values))
    }

    /// Gives the sequence a contiguous mask `[batch, time]`.
    ///
    /// # Errors
    /// As [`View::with_mask`].
    pub fn with_mask(mut self, mask: &'a mut [u8]) -> Result<Self> {
        check_mask(mask.len(), &self.raw)?;
        self.raw.mask = mask.as_mut_ptr();
        self.raw.mask_strides = [0, 0];
        Ok(self)
    }

    #[inline]
    fn of<T>(mut raw: sys::sl_sequence, values: &'a mut [T]) -> Self {
        raw.data = values.as_mut_ptr().cast();
        ViewMut {
            raw,
            data: PhantomData,
        }
    }

    /// The sequence, to read.
    pub fn as_view(&self) -> View<'_> {
        View {
            raw: self.raw,
            data: PhantomData,
        }
    }

    /// Dtype and dims.
    pub fn shape(&self) -> Shape {
        Shape::from_raw(&self.raw)
    }

    /// The values, if they are contiguous.
    ///
    /// # Errors
    /// As [`View::values`].
    pub fn values_mut<T: Element>(&mut self) -> Result<&mut [T]> {
        let len = typed_len::<T>(&self.raw)?;
        // SAFETY: as in `View::values`; the slice borrows `self`.
        Ok(unsafe { slice::from_raw_parts_mut(self.raw.data.cast::<T>(), len) })
    }

    /// The mask, if there is a contiguous one.
    pub fn mask_mut(&mut self) -> Option<&mut [u8]> {
        self.as_view().mask()?;
        // SAFETY: as in `View::mask`; the slice borrows `self`.
        Some(unsafe { slice::from_raw_parts_mut(self.raw.mask, self.shape().steps()) })
    }

    #[inline]
    pub(crate) fn raw_mut(&mut self) -> &mut sys::sl_sequence {
        &mut self.raw
    }

    /// # Safety
    /// The view must be writable for `'a`, by nobody else.
    pub(crate) unsafe fn from_raw(raw: sys::sl_sequence) -> Self {
        ViewMut {
            raw,
            data: PhantomData,
        }
    }
}

impl fmt::Debug for ViewMut<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ViewMut({:?})", self.shape())
    }
}

/// An owned sequence or array of any dtype, contiguous, with a mask if it is a sequence.
///
/// ```
/// use sequence_layers::Tensor;
///
/// let mut x = Tensor::from_values(&[1f32, 2.0, 3.0, 4.0], &[1, 4])?;
/// x.mask_mut()[3] = 0;
/// assert_eq!(x.values::<f32>()?[..3], [1.0, 2.0, 3.0]);
/// assert!(x.values::<i32>().is_err());
/// # Ok::<(), sequence_layers::Error>(())
/// ```
#[derive(Clone)]
pub struct Tensor {
    shape: Shape,
    /// Units of the alignment that every dtype is content with.
    storage: Vec<u64>,
    mask: Vec<u8>,
}

impl Tensor {
    /// Zeros, all of them valid.
    ///
    /// # Errors
    /// [`Status::OutOfMemory`] for a size that does not fit.
    pub fn zeros(shape: &Shape) -> Result<Self> {
        let bytes = shape
            .len()
            .and_then(|len| len.checked_mul(shape.dtype().size()))
            .filter(|&bytes| bytes <= isize::MAX as usize)
            .ok_or_else(|| Error::new(Status::OutOfMemory, "a tensor that does not fit"))?;
        let unit = mem::size_of::<u64>();
        // Never without storage, since a pointer of none is not aligned for all dtypes.
        let units = bytes / unit + 1;
        Ok(Tensor {
            shape: *shape,
            storage: vec![0; units],
            mask: vec![1; shape.steps()],
        })
    }

    /// A sequence with these values, all of them valid.
    ///
    /// # Errors
    /// As [`View::new`].
    pub fn from_values<T: Element>(values: &[T], dims: &[usize]) -> Result<Self> {
        let mut out = Tensor::zeros(&View::new(values, dims)?.shape())?;
        out.values_mut()?.copy_from_slice(values);
        Ok(out)
    }

    /// Dtype and dims.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// The values, the last axis fastest.
    ///
    /// # Errors
    /// [`Status::Shape`] for another type.
    pub fn values<T: Element>(&self) -> Result<&[T]> {
        self.view().values()
    }

    /// The values, to change.
    ///
    /// # Errors
    /// [`Status::Shape`] for another type.
    pub fn values_mut<T: Element>(&mut self) -> Result<&mut [T]> {
        let len = typed_len::<T>(&self.raw_mut())?;
        // SAFETY: `zeros` made room for as many elements as the shape has.
        Ok(unsafe { slice::from_raw_parts_mut(self.storage.as_mut_ptr().cast::<T>(), len) })
    }

    /// The mask: a byte for each timestep; empty for an array.
    pub fn mask(&self) -> &[u8] {
        &self.mask
    }

    /// The mask, to change.
    pub fn mask_mut(&mut self) -> &mut [u8] {
        &mut self.mask
    }

    /// A view to read.
    pub fn view(&self) -> View<'_> {
        let mut view = View::of(self.shape.raw(), &self.storage);
        if !self.shape.is_array() {
            view.raw.mask = self.mask.as_ptr() as *mut u8;
        }
        view
    }

    /// A view to write.
    pub fn view_mut(&mut self) -> ViewMut<'_> {
        ViewMut {
            raw: self.raw_mut(),
            data: PhantomData,
        }
    }

    fn raw_mut(&mut self) -> sys::sl_sequence {
        let mut raw = self.shape.raw();
        raw.data = self.storage.as_mut_ptr().cast();
        if !self.shape.is_array() {
            raw.mask = self.mask.as_mut_ptr();
        }
        raw
    }

    /// Type of the elements.
    pub fn dtype(&self) -> DType {
        self.shape.dtype()
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({:?})", self.shape)
    }
}
