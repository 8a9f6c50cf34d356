//! Prints the probability of speech in each 32 ms of raw float32 samples from standard input.
//!
//!     cargo run --release --example vad -- build/demo/silero_vad <samples.raw

use sequence_layers::{Layer, State, StateOptions, Stepper};
use std::io::Read;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = std::env::args().nth(1).ok_or("usage: vad MODEL")?;
    let model = Layer::open(directory)?;
    let state = State::new(&model, &StateOptions::new())?; // one stream, one block per step
    let mut stream = Stepper::<f32, f32>::new(state, 512)?;
    let mut bytes = [0; 4 * 512];
    while std::io::stdin().read_exact(&mut bytes).is_ok() {
        for (sample, bytes) in stream.input_mut().iter_mut().zip(bytes.chunks_exact(4)) {
            *sample = f32::from_le_bytes(bytes.try_into()?);
        }
        stream.step()?; // real-time safe
        println!("{:.3}", stream.output()[0]);
    }
    Ok(())
}
