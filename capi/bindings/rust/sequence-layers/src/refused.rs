//! Programs that the types refuse: none of these examples must compile, but for the first one, which shows that the frame
//! around them does.
//!
//! ```
//! use sequence_layers::*;
//! fn shared<T: Send + Sync>() {}
//! fn moved<T: Send>() {}
//! shared::<Layer>();
//! shared::<Weights>();
//! shared::<Registry>();
//! shared::<View<'_>>();
//! shared::<Constants<'_>>();
//! moved::<State>();
//! moved::<Stepper>();
//! moved::<Decoder>();
//! moved::<Pipe>();
//! moved::<Profile>();
//! ```
//!
//! A stream is used by one thread at a time:
//! ```compile_fail,E0277
//! fn shared<T: Sync>() {}
//! shared::<sequence_layers::State>();
//! ```
//! ```compile_fail,E0277
//! fn shared<T: Sync>() {}
//! shared::<sequence_layers::Stepper>();
//! ```
//! ```compile_fail,E0277
//! fn shared<T: Sync>() {}
//! shared::<sequence_layers::Decoder>();
//! ```
//! ```compile_fail,E0277
//! fn shared<T: Sync>() {}
//! shared::<sequence_layers::Pipe>();
//! ```
//! ```compile_fail,E0277
//! fn shared<T: Sync>() {}
//! shared::<sequence_layers::Profile>();
//! ```
//!
//! A view does not outlive its values:
//! ```compile_fail,E0597
//! let view = {
//!     let samples = [0f32; 4];
//!     sequence_layers::View::new(&samples, &[1, 4]).unwrap()
//! };
//! println!("{:?}", view);
//! ```
//!
//! An output that is being written is not read:
//! ```compile_fail,E0502
//! let mut samples = [0f32; 4];
//! let mut y = sequence_layers::ViewMut::new(&mut samples, &[1, 4]).unwrap();
//! println!("{}", samples[0]);
//! y.values_mut::<f32>().unwrap()[0] = 1.0;
//! ```
//!
//! A view of a weight does not outlive the set:
//! ```compile_fail,E0505
//! let weights = sequence_layers::Weights::new().unwrap();
//! let view = weights.find("params.kernel").unwrap();
//! drop(weights);
//! println!("{:?}", view);
//! ```
//!
//! A state's tensors are not read while it steps:
//! ```compile_fail,E0502
//! let layer = sequence_layers::Layer::from_config(r#"{"type": "Delay", "length": 1}"#).unwrap();
//! let mut state = sequence_layers::State::new(&layer, &Default::default()).unwrap();
//! let tensors = state.tensors().unwrap();
//! state.reset().unwrap();
//! println!("{}", tensors.len());
//! ```
//!
//! A custom layer is used by many threads:
//! ```compile_fail,E0277
//! use sequence_layers::*;
//! struct Counter(std::cell::Cell<u32>);
//! impl CustomLayer for Counter {
//!     fn layer(&self, _x: &View<'_>, _y: &mut ViewMut<'_>) -> Result<()> {
//!         Ok(())
//!     }
//! }
//! ```
