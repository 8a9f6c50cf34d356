//! The cost of thirty instances of the fitted amplifier at 64 frames a call, on two threads.

mod support;

use std::path::Path;
use support::{sines, Instance, RATE};

const INSTANCES: usize = 30;
const THREADS: usize = 2;
const BLOCK: usize = 64;

#[repr(C)]
struct Time {
    seconds: i64,
    nanoseconds: i64,
}

extern "C" {
    fn clock_gettime(clock: i32, time: *mut Time) -> i32;
}

/// Seconds of a processor that this thread has had, whatever else ran meanwhile.
fn thread_seconds() -> f64 {
    const CLOCK_THREAD_CPUTIME_ID: i32 = 3;
    let mut time = Time {
        seconds: 0,
        nanoseconds: 0,
    };
    // SAFETY: room for the answer.
    assert_eq!(
        unsafe { clock_gettime(CLOCK_THREAD_CPUTIME_ID, &mut time) },
        0
    );
    time.seconds as f64 + 1e-9 * time.nanoseconds as f64
}

/// Instances that one thread plays.
struct Rack(Vec<Instance>);

// SAFETY: one thread at a time has the rack, and nothing of it is used elsewhere meanwhile.
unsafe impl Send for Rack {}

impl Rack {
    /// Plays a second in calls of one size, and returns how many seconds of a processor that took.
    fn play(&self, input: &[Vec<f32>]) -> f64 {
        let start = thread_seconds();
        let mut samples = input.to_vec();
        let mut output = [0f32; BLOCK];
        for begin in (0..samples[0].len() - BLOCK).step_by(BLOCK) {
            for instance in &self.0 {
                let from = samples[0][begin..].as_mut_ptr();
                let forbidden = instance.process(&[from], &[output.as_mut_ptr()], BLOCK, &[]);
                assert_eq!(forbidden, 0);
            }
        }
        thread_seconds() - start
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
        "{} instances, {} frames a call, {} threads: {:.1} % of each core by CPU time",
        INSTANCES,
        BLOCK,
        THREADS,
        100.0 * seconds
    );
}
