//! Sets of named tensors.

use crate::error::{c_string, check, make, optional_str, to_i64, to_usize, Result};
use crate::sys;
use crate::view::View;
use std::ffi::CString;
use std::fmt;
use std::os::raw::c_char;
use std::path::Path;
use std::ptr::{self, NonNull};

/// A set of named tensors. Names are the variable paths of SequenceLayers, collection first: `params.conv1d.kernel`.
///
/// ```
/// use sequence_layers::{Layer, LayerOptions, Run, Tensor, View, Weights};
///
/// let mut weights = Weights::new()?;
/// weights.add("params.kernel", &View::array(&[2f32, 3.0], &[2, 1])?)?;
/// weights.add("params.bias", &View::array(&[1f32], &[1])?)?;
/// let config = r#"{"type": "Dense", "features": 1}"#;
/// let layer = Layer::create(config, Some(&weights), &LayerOptions::new())?;
/// let x = Tensor::from_values(&[10f32, 20.0], &[1, 1, 2])?;
/// let y = layer.apply_new(&x.view(), Run::new())?;
/// assert_eq!(y.values::<f32>()?, [81.0]);
/// # Ok::<(), sequence_layers::Error>(())
/// ```
pub struct Weights(NonNull<sys::sl_weights>);

// SAFETY: a set may be freed on any thread.
unsafe impl Send for Weights {}
// SAFETY: all that takes `&self` is [any-thread].
unsafe impl Sync for Weights {}

impl Weights {
    /// An empty set.
    ///
    /// # Errors
    /// [`Status::OutOfMemory`](crate::Status::OutOfMemory).
    pub fn new() -> Result<Self> {
        // SAFETY: `make` gives valid pointers.
        make(|out, error| unsafe { sys::sl_weights_create(out, error) }).map(Weights)
    }

    /// The tensors of a safetensors file, which is mapped. It must stay unchanged while the set and the layers made of it
    /// live; replacing it by renaming another one is safe.
    ///
    /// # Errors
    /// [`Status::Io`](crate::Status::Io), [`Status::Weights`](crate::Status::Weights).
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let path = c_path(path.as_ref())?;
        // SAFETY: all pointers are valid.
        make(|out, error| unsafe { sys::sl_weights_open(path.as_ptr(), out, error) }).map(Weights)
    }

    /// The tensors of a safetensors image, which is copied.
    ///
    /// # Errors
    /// [`Status::Weights`](crate::Status::Weights).
    pub fn read(image: &[u8]) -> Result<Self> {
        let data = image.as_ptr().cast();
        // SAFETY: all pointers are valid.
        make(|out, error| unsafe { sys::sl_weights_read(data, image.len(), out, error) })
            .map(Weights)
    }

    /// Adds a copy of a contiguous tensor.
    ///
    /// # Errors
    /// [`Status::InvalidArgument`](crate::Status::InvalidArgument) also for a name that is taken.
    pub fn add(&mut self, name: &str, tensor: &View<'_>) -> Result<()> {
        let name = c_string(name, "the name of a tensor")?;
        // SAFETY: all pointers are valid, and `&mut self` is the only user.
        check(|error| unsafe {
            sys::sl_weights_add(self.as_ptr(), name.as_ptr(), tensor.raw(), error)
        })
    }

    /// Number of tensors.
    pub fn tensor_count(&self) -> usize {
        // SAFETY: the handle is valid.
        to_usize(unsafe { sys::sl_weights_tensor_count(self.as_ptr()) })
    }

    /// Name and view of a tensor, in order of names.
    ///
    /// # Errors
    /// [`Status::InvalidArgument`](crate::Status::InvalidArgument) if there is no such tensor.
    pub fn tensor(&self, index: usize) -> Result<(&str, View<'_>)> {
        let mut name: *const c_char = ptr::null();
        let mut view = sys::sl_sequence::default();
        // SAFETY: all pointers are valid.
        check(|error| unsafe {
            sys::sl_weights_tensor(self.as_ptr(), to_i64(index), &mut name, &mut view, error)
        })?;
        // SAFETY: name and view live as long as the set.
        unsafe { Ok((optional_str(name).unwrap_or(""), View::from_raw(view))) }
    }

    /// View of the tensor of that name.
    ///
    /// # Errors
    /// [`Status::Weights`](crate::Status::Weights) if there is none.
    pub fn find(&self, name: &str) -> Result<View<'_>> {
        let name = c_string(name, "the name of a tensor")?;
        let mut view = sys::sl_sequence::default();
        // SAFETY: all pointers are valid; the view lives as long as the set.
        unsafe {
            check(|error| sys::sl_weights_find(self.as_ptr(), name.as_ptr(), &mut view, error))?;
            Ok(View::from_raw(view))
        }
    }

    /// An entry of the file's metadata.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        let key = CString::new(key).ok()?;
        // SAFETY: all pointers are valid; the string lives as long as the set.
        unsafe { optional_str(sys::sl_weights_metadata(self.as_ptr(), key.as_ptr())) }
    }

    pub(crate) fn as_ptr(&self) -> *mut sys::sl_weights {
        self.0.as_ptr()
    }
}

impl Drop for Weights {
    fn drop(&mut self) {
        // SAFETY: the handle is valid, and no view of it is left.
        unsafe { sys::sl_weights_free(self.as_ptr()) }
    }
}

impl fmt::Debug for Weights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Weights({} tensors)", self.tensor_count())
    }
}

/// A path for C.
pub(crate) fn c_path(path: &Path) -> Result<CString> {
    #[cfg(unix)]
    let bytes = std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str());
    #[cfg(not(unix))]
    let bytes = path
        .to_str()
        .ok_or_else(|| crate::Error::invalid("a path that is not Unicode"))?;
    c_string(bytes, "the path")
}
