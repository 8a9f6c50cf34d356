//! Streamable sequence models, trained in JAX with Google's SequenceLayers, on CPUs: whole sequences at once, or streams
//! step by step with the same result. This is the safe interface to libsequence_layers, a C library that must be
//! installed: see the crate `sequence-layers-sys` for how it is found.
//!
//! A model ([`Layer`]) is a JSON config with its weights. It never changes, and any number of threads may share it. A
//! stream ([`State`]) belongs to one thread at a time. The rules of the C library are those of Rust's types here:
//!
//! | Type | Threads | Owns |
//! |---|---|---|
//! | [`Layer`], [`Weights`], [`Registry`] | `Send` and `Sync` | a clone of a layer is the same model |
//! | [`State`], [`Stepper`], [`Decoder`], [`Pipe`], [`Profile`] | `Send` only | keep their layer alive |
//! | [`View`], [`ViewMut`], [`Constants`], [`Emits`], [`Run`] | as slices are | borrow what they view |
//!
//! # A stream
//!
//! ```no_run
//! use sequence_layers::{Layer, State, StateOptions, Stepper};
//! use std::io::Read;
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let directory = std::env::args().nth(1).ok_or("usage: vad MODEL")?;
//!     let model = Layer::open(directory)?;
//!     let state = State::new(&model, &StateOptions::new())?; // one stream, one block per step
//!     let mut stream = Stepper::<f32, f32>::new(state, 512)?;
//!     let mut bytes = [0; 4 * 512];
//!     while std::io::stdin().read_exact(&mut bytes).is_ok() {
//!         for (sample, bytes) in stream.input_mut().iter_mut().zip(bytes.chunks_exact(4)) {
//!             *sample = f32::from_le_bytes(bytes.try_into()?);
//!         }
//!         stream.step()?; // real-time safe
//!         println!("{:.3}", stream.output()[0]);
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # Real time
//!
//! [`Stepper::step`], [`State::step`], their `step_slots`, [`Decoder::sample`] and what else says so allocate nothing, take no lock and make no
//! system call. Where a call fails, its [`Error`] allocates its message; [`Stepper::step`] does not do so even then.
//!
//! # Masks
//!
//! A timestep is valid or not. Masks are bytes `[batch, time]`, 1 for valid, as `u8` rather than `bool`: nothing that a file
//! or a custom layer says may become a `bool` that is neither.
#![deny(missing_docs)]

extern crate sequence_layers_sys as sys;

mod constants;
mod custom;
mod decoder;
mod dtype;
mod error;
mod layer;
mod log;
mod pipe;
mod profile;
mod run;
mod shape;
mod state;
mod stepper;
mod view;
mod weights;

pub use constants::{ConstantInfo, ConstantKind, Constants};
pub use custom::{CustomLayer, CustomState, Properties, Registry, WeightSource};
pub use decoder::{Choice, Decoder, DecoderOptions};
pub use dtype::{Bf16, Complex32, DType, Element, F16};
pub use error::{Error, Result, Status};
pub use layer::{
    built_in_types, version, Layer, LayerOptions, MatmulBackend, Mode, ReceptiveField,
    StepDifference, StepDifferenceCondition,
};
pub use log::{set_log, LogLevel};
pub use pipe::{Pipe, PipeChannels, PipeOptions, PipeQuality, SwapError};
pub use profile::Profile;
pub use run::{EmitShape, Emits, Run};
pub use shape::{ChannelSpec, Shape, MAX_CHANNEL_RANK, MAX_RANK};
pub use state::{State, StateOptions};
pub use stepper::Stepper;
pub use view::{Tensor, View, ViewMut};
pub use weights::Weights;

#[cfg(doctest)]
mod refused;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
