//! Requests of the plugin to its host.

use clap_sys::ext::latency::{clap_host_latency, CLAP_EXT_LATENCY};
use clap_sys::ext::log::{clap_host_log, CLAP_EXT_LOG, CLAP_LOG_ERROR};
use clap_sys::ext::state::{clap_host_state, CLAP_EXT_STATE};
use clap_sys::host::clap_host;
use std::ffi::{CStr, CString};
use std::ptr;

/// The host, which outlives the plugin, and its extensions.
#[derive(Clone, Copy)]
pub struct Host {
    raw: *const clap_host,
    log: *const clap_host_log,
    latency: *const clap_host_latency,
    state: *const clap_host_state,
}

// SAFETY: each method is called on a thread that CLAP allows for the function behind it.
unsafe impl Send for Host {}
// SAFETY: as above.
unsafe impl Sync for Host {}

impl Host {
    /// # Safety
    /// `raw` must be the host of a plugin, which is not yet initialised.
    pub unsafe fn new(raw: *const clap_host) -> Self {
        Host {
            raw,
            log: ptr::null(),
            latency: ptr::null(),
            state: ptr::null(),
        }
    }

    /// The host with its extensions, which may be asked for from `init` on.
    pub fn with_extensions(mut self) -> Self {
        self.log = self.extension(CLAP_EXT_LOG);
        self.latency = self.extension(CLAP_EXT_LATENCY);
        self.state = self.extension(CLAP_EXT_STATE);
        self
    }

    fn extension<T>(&self, id: &CStr) -> *const T {
        // SAFETY: the host is alive, and gives the struct that belongs to the id.
        unsafe {
            match (*self.raw).get_extension {
                Some(get) => get(self.raw, id.as_ptr()).cast(),
                None => ptr::null(),
            }
        }
    }

    /// [thread-safe]
    pub fn request_callback(&self) {
        // SAFETY: the host is alive.
        unsafe {
            if let Some(request) = (*self.raw).request_callback {
                request(self.raw);
            }
        }
    }

    /// [thread-safe]
    pub fn request_restart(&self) {
        // SAFETY: the host is alive.
        unsafe {
            if let Some(request) = (*self.raw).request_restart {
                request(self.raw);
            }
        }
    }

    /// [thread-safe]
    pub fn request_process(&self) {
        // SAFETY: the host is alive.
        unsafe {
            if let Some(request) = (*self.raw).request_process {
                request(self.raw);
            }
        }
    }

    /// [thread-safe] Hosts without a log get it on stderr.
    pub fn log_error(&self, message: &str) {
        // SAFETY: the host and its extension are alive.
        let log = unsafe { self.log.as_ref() }.and_then(|log| log.log);
        match (log, CString::new(message)) {
            // SAFETY: as above.
            (Some(log), Ok(text)) => unsafe { log(self.raw, CLAP_LOG_ERROR, text.as_ptr()) },
            _ => eprintln!("sequence-layers: {}", message),
        }
    }

    /// [main-thread], while the plugin is being activated.
    pub fn latency_changed(&self) {
        // SAFETY: the host and its extension are alive.
        unsafe {
            if let Some(changed) = self.latency.as_ref().and_then(|latency| latency.changed) {
                changed(self.raw);
            }
        }
    }

    /// [main-thread]
    pub fn mark_dirty(&self) {
        // SAFETY: the host and its extension are alive.
        unsafe {
            if let Some(mark) = self.state.as_ref().and_then(|state| state.mark_dirty) {
                mark(self.raw);
            }
        }
    }
}
