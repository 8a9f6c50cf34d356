//! Costs of layers.

use crate::error::{check, make, text, Result};
use crate::sys;
use std::ptr::NonNull;

/// Costs of each layer, recorded by runs that name it.
///
/// ```
/// use sequence_layers::{Layer, Profile, Run, Tensor};
///
/// let layer = Layer::from_config(r#"{"type": "Abs", "name": "magnitude"}"#)?;
/// let mut profile = Profile::new()?;
/// let x = Tensor::from_values(&[-1f32, 2.0], &[1, 2])?;
/// layer.apply_new(&x.view(), Run::new().profile(&mut profile))?;
/// assert!(profile.describe()?.contains(r#""type":"Abs""#), "{}", profile.describe()?);
/// # Ok::<(), sequence_layers::Error>(())
/// ```
#[derive(Debug)]
pub struct Profile(NonNull<sys::sl_profile>);

// SAFETY: one thread at a time uses a profile, which may be any.
unsafe impl Send for Profile {}

impl Profile {
    /// A profile of nothing.
    ///
    /// # Errors
    /// [`Status::OutOfMemory`](crate::Status::OutOfMemory).
    pub fn new() -> Result<Self> {
        // SAFETY: `make` gives valid pointers.
        make(|out, error| unsafe { sys::sl_profile_create(out, error) }).map(Profile)
    }

    /// Forgets what was recorded.
    ///
    /// # Errors
    /// None are known.
    pub fn reset(&mut self) -> Result<()> {
        // SAFETY: the handle is valid and not shared.
        check(|error| unsafe { sys::sl_profile_reset(self.as_ptr(), error) })
    }

    /// The costs as JSON: `{"layers": [{"path", "type", "parent", "calls", "self_seconds", "flop", "bytes", "folded_into"}, ...]}`, in
    /// the order of the layers' first calls. `parent` is the index of the layer that called it, null for the model.
    ///
    /// # Errors
    /// [`Status::OutOfMemory`](crate::Status::OutOfMemory).
    pub fn describe(&self) -> Result<String> {
        text(|buffer, capacity, needed, error| {
            // SAFETY: the handle is valid and not shared, as the type is not `Sync`.
            unsafe { sys::sl_profile_describe(self.as_ptr(), buffer, capacity, needed, error) }
        })
    }

    pub(crate) fn as_ptr(&self) -> *mut sys::sl_profile {
        self.0.as_ptr()
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        // SAFETY: the handle is valid, and nobody uses it any more.
        unsafe { sys::sl_profile_free(self.as_ptr()) }
    }
}
