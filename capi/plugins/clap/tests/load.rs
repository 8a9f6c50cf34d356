//! What thirty instances of the fitted amplifier cost at 64 frames a call, on two threads.

mod support;

use std::path::Path;
use std::time::Instant;
use support::{sines, Instance, RATE};

const INSTANCES: usize = 30;
const THREADS: usize = 2;
const BLOCK: usize = 64;

/// Instances that one thread plays.
struct Rack(Vec<Instance>);

// SAFETY: one thread at a time has the rack, and nothing of it is used elsewhere meanwhile.
unsafe impl Send for Rack {}

impl Rack {
    /// Plays a second in calls of one size, and returns how many seconds that took.
    fn play(&self, input: &[Vec<f32>]) -> f64 {
        let start = Instant::now();
        let mut samples = input.to_vec();
        let mut output = [0f32; BLOCK];
        for begin in (0..samples[0].len() - BLOCK).step_by(BLOCK) {
            for instance in &self.0 {
                let from = samples[0][begin..].as_mut_ptr();
                let forbidden = instance.process(&[from], &[output.as_mut_ptr()], BLOCK, &[]);
                assert_eq!(forbidden, 0);
            }
        }
        start.elapsed().as_secs_f64()
    }
}

#[test]
fn thirty_instances_at_64_frames() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/models/amp");
    let input = sines(1, RATE as usize);
    let rack = || {
        let made = |_| {
            let mut instance = Instance::new(1);
            instance.load_and_wait(&path);
            instance.activate(RATE);
            instance
        };
        Rack((0..INSTANCES / THREADS).map(made).collect())
    };
    let racks: Vec<Rack> = (0..THREADS).map(|_| rack()).collect();
    let seconds = std::thread::scope(|scope| {
        let play = |rack: Rack| {
            let input = &input;
            scope.spawn(move || rack.play(input))
        };
        let mut threads = Vec::new();
        threads.extend(racks.into_iter().map(play)); // all of them run before one is waited for
        let times = threads.into_iter().map(|thread| thread.join().unwrap());
        times.fold(0.0, f64::max)
    });
    println!(
        "{} instances, {} frames a call, {} threads: {:.1} % of each core",
        INSTANCES,
        BLOCK,
        THREADS,
        100.0 * seconds
    );
}
