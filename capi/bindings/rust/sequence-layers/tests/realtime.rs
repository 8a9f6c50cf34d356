//! Steps allocate nothing in Rust. (That they allocate nothing in C either is what the library's own tests show.)

#![allow(clippy::declare_interior_mutable_const)] // what thread_local! of Rust 1.63 expands to

use sequence_layers::*;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

fn count() {
    ALLOCATIONS.with(|count| count.set(count.get() + 1));
}

// SAFETY: the system's allocator does it all.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        System.alloc(layout)
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count();
        System.dealloc(memory, layout)
    }
}

#[global_allocator]
static HEAP: Counting = Counting;

/// Calls of the heap while `run` runs.
fn heap_calls(run: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.with(Cell::get);
    run();
    ALLOCATIONS.with(Cell::get) - before
}

const CONFIG: &str = r#"{"type": "Serial", "layers": [
    {"type": "Conditioning", "conditioning_name": "bias", "projection": "identity", "combination": "add"},
    {"type": "Emit", "name": "biased"}, {"type": "Delay", "length": 1}]}"#;

#[test]
fn the_count_sees_allocations() {
    assert_eq!(heap_calls(|| drop(vec![1u8; 100])), 2);
}

#[test]
fn steps_allocate_nothing() {
    let layer = Layer::from_config(CONFIG).unwrap();
    let bias = [10f32];
    let mut constants = Constants::new()
        .with("bias", View::array(&bias, &[1, 1]).unwrap())
        .unwrap();
    let spec = ChannelSpec::new(DType::Float32, &[1]).unwrap();
    let options = StateOptions::new().input(spec).constants(&constants);
    let mut state = State::new(&layer, &options).unwrap();
    let mut fork = state.fork().unwrap();
    let mut saved = vec![0; state.save_size()];
    let (mut y, mut emitted) = ([0f32], [0f32]);
    let (x, other) = ([1f32], [20f32]);
    let mut emits = Emits::new();
    emits.push(ViewMut::new(&mut emitted, &[1, 1, 1]).unwrap());

    let calls = heap_calls(|| {
        for _ in 0..3 {
            let x = View::new(&x, &[1, 1, 1]).unwrap();
            let mut y = ViewMut::new(&mut y, &[1, 1, 1]).unwrap();
            let run = Run::new().constants(&constants).emits(&mut emits);
            state.step(&x, &mut y, run).unwrap();
        }
        constants
            .set("bias", View::array(&other, &[1, 1]).unwrap())
            .unwrap();
        state.save_into(&mut saved).unwrap();
        fork.copy_from(&state).unwrap();
        state.reset().unwrap();
        state.load(&saved).unwrap();
    });
    assert_eq!(calls, 0);
    assert_eq!((y, emitted), ([11.0], [11.0]));
}

#[test]
fn steps_of_slots_allocate_nothing() {
    let layer = Layer::from_config(CONFIG).unwrap();
    let shapes = Constants::new()
        .with("bias", View::array(&[0f32; 3], &[3, 1]).unwrap())
        .unwrap();
    let spec = ChannelSpec::new(DType::Float32, &[1]).unwrap();
    let options = StateOptions::new().batch(3).input(spec).constants(&shapes);
    let mut state = State::new(&layer, &options).unwrap();
    let stepped = State::new(&layer, &options).unwrap();
    let mut stepper: Stepper = Stepper::new(stepped, 1).unwrap().with_emits().unwrap();
    let bias = stepper.constant_mut(0).unwrap();
    bias.values_mut()
        .unwrap()
        .copy_from_slice(&[10f32, 20.0, 30.0]);
    let mut saved = vec![0; state.save_item_size()];
    let (bias, mut y) = ([5f32, 6.0], [0f32; 2]);
    let constants = Constants::new()
        .with("bias", View::array(&bias, &[2, 1]).unwrap())
        .unwrap();
    let calls = heap_calls(|| {
        for slots in [[2, 0], [0, 2], [2, 1]] {
            let x = View::new(&[1f32, 2.0], &[2, 1, 1]).unwrap();
            let mut y = ViewMut::new(&mut y, &[2, 1, 1]).unwrap();
            let run = Run::new().constants(&constants);
            state.step_slots(&slots, &x, &mut y, run).unwrap();
            stepper.input_mut()[..2].copy_from_slice(&[1.0, 2.0]);
            stepper.step_slots(&slots).unwrap();
        }
        state.save_item_into(2, &mut saved).unwrap();
        state.load_item(1, &saved).unwrap();
        state.copy_item_within(0, 1).unwrap();
        state.reset_item(2).unwrap();
        assert_eq!(stepper.step_slots(&[3]), Err(Status::InvalidArgument));
    });
    assert_eq!(calls, 0);
    assert_eq!(y, [8.0, 0.0]);
    assert_eq!(stepper.output()[..2], [22.0, 0.0]);
    assert_eq!(
        stepper.emits()[0].values::<f32>().unwrap()[..2],
        [11.0, 22.0]
    );
}

#[test]
fn steppers_allocate_nothing_even_where_they_fail() {
    let layer = Layer::from_config(CONFIG).unwrap();
    let shapes = Constants::new()
        .with("bias", View::array(&[0f32], &[1, 1]).unwrap())
        .unwrap();
    let options = StateOptions::new()
        .input(ChannelSpec::new(DType::Float32, &[1]).unwrap())
        .max_length(2)
        .constants(&shapes);
    let state = State::new(&layer, &options).unwrap();
    let mut stepper: Stepper = Stepper::new(state, 1)
        .unwrap()
        .with_masks()
        .with_emits()
        .unwrap();
    let bias = stepper.constant_mut(0).unwrap();
    bias.values_mut::<f32>().unwrap()[0] = 5.0;

    let mut statuses = [Ok(()); 3];
    let calls = heap_calls(|| {
        for status in &mut statuses {
            stepper.input_mut()[0] = 1.0;
            stepper.input_mask_mut()[0] = 1;
            *status = stepper.step();
        }
    });
    assert_eq!(calls, 0);
    assert_eq!(statuses, [Ok(()), Ok(()), Err(Status::Length)]);
    assert!(stepper.message().contains('2'), "{}", stepper.message());
    assert_eq!(stepper.output(), [6.0]);
    assert_eq!(stepper.output_mask(), [1]);
    assert_eq!(stepper.emits()[0].values::<f32>().unwrap(), [6.0]);
    assert_eq!(stepper.process(&[]), Err(Status::Shape));
}
