//! Prints what a step costs in Rust, and how much more that is than in C.
//!
//!     cargo run --release --example overhead -- MODEL C_SECONDS_PER_STEP
//!
//! MODEL is a directory with a model of one float32 sample a step that does nearly nothing.

use sequence_layers::{Layer, Run, State, StateOptions, Stepper, View, ViewMut};
use std::error::Error;
use std::time::Instant;

const STEPS: u32 = 20_000;
const ROUNDS: u32 = 20;

/// The minimum of a step's mean time over some rounds, in nanoseconds.
fn nanoseconds(
    mut step: impl FnMut() -> Result<(), Box<dyn Error>>,
) -> Result<f64, Box<dyn Error>> {
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..STEPS {
            step()?;
        }
        best = best.min(start.elapsed().as_secs_f64() / f64::from(STEPS));
    }
    Ok(best * 1e9)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let (model, c_seconds) = match arguments.as_slice() {
        [_, model, seconds] => (model, seconds.parse::<f64>()?),
        _ => return Err("usage: overhead MODEL C_SECONDS_PER_STEP".into()),
    };
    let layer = Layer::open(model)?;
    let mut state = State::new(&layer, &StateOptions::new())?;
    let x = [1f32];
    let mut y = [0f32];
    let by_state = nanoseconds(|| {
        let x = View::new(&x, &[1, 1])?;
        Ok(state.step(&x, &mut ViewMut::new(&mut y, &[1, 1])?, Run::new())?)
    })?;
    let mut stepper = Stepper::<f32, f32>::new(state, 1)?;
    let by_stepper = nanoseconds(|| {
        stepper.process(&x)?;
        Ok(())
    })?;
    let c = c_seconds * 1e9;
    println!("C                {:6.1} ns a step", c);
    for (name, found) in [("Stepper::process", by_stepper), ("State::step", by_state)] {
        println!("{:16} {:6.1} ns a step, {:+.1} ns", name, found, found - c);
    }
    Ok(())
}
