//! Views, tensors and handles: what they check, and what they give back.

use sequence_layers::*;
use std::panic::{catch_unwind, AssertUnwindSafe};

fn status<T>(result: Result<T>) -> Status {
    match result {
        Ok(_) => panic!("no error"),
        Err(error) => error.status(),
    }
}

#[test]
fn views_check_their_sizes() {
    let values = [0f32; 6];
    assert!(View::new(&values, &[1, 2, 3]).is_ok());
    assert_eq!(status(View::new(&values, &[1, 2, 4])), Status::Shape);
    assert_eq!(status(View::new(&values, &[6])), Status::InvalidArgument);
    assert_eq!(
        status(View::new(&values, &[usize::MAX, 2, 3])),
        Status::Shape
    );
    assert_eq!(
        status(View::new(&[0f32], &[1; 11])),
        Status::InvalidArgument
    );
    let view = View::new(&values, &[2, 3]).unwrap();
    assert_eq!(status(view.with_mask(&[1; 5])), Status::Shape);
    assert_eq!(view.with_mask(&[1; 6]).unwrap().mask().unwrap(), [1; 6]);
    let array = View::array(&values, &[6]).unwrap();
    assert!(array.shape().is_array());
    assert_eq!(status(array.with_mask(&[])), Status::Shape);
    assert_eq!(status(view.values::<i32>()), Status::Shape);
    assert_eq!(view.values::<f32>().unwrap(), values);
    let empty: [f32; 0] = [];
    assert!(View::new(&empty, &[1, 0]).unwrap().shape().is_empty());
}

#[test]
fn strides_stay_within_the_values() {
    let values: Vec<f32> = (0..12u8).map(f32::from).collect();
    let by_time = View::strided(&values, &[2, 3, 2], &[1, 4, 2]).unwrap();
    assert_eq!(
        by_time.to_vec::<f32>().unwrap(),
        [0.0, 2.0, 4.0, 6.0, 8.0, 10.0, 1.0, 3.0, 5.0, 7.0, 9.0, 11.0]
    );
    assert_eq!(status(by_time.values::<f32>()), Status::InvalidArgument);
    let broadcast = View::strided(&values, &[2, 3], &[0, 1]).unwrap();
    let expected = [0.0, 1.0, 2.0, 0.0, 1.0, 2.0];
    assert_eq!(broadcast.to_vec::<f32>().unwrap(), expected);

    for (dims, strides) in [
        ([2, 3, 2], vec![1, 4, 4]),
        ([2, 3, 2], vec![1, 4]),
        ([2, 3, 2], vec![0, 0, 0]),
        ([2, 3, 2], vec![usize::MAX, 4, 2]),
        ([13, 1, 1], vec![1, 1, 1]),
    ] {
        let refused = View::strided(&values, &dims, &strides);
        assert_eq!(status(refused), Status::Shape, "{:?}", strides);
    }
    let mut values = values;
    assert!(ViewMut::strided(&mut values, &[2, 3, 2], &[1, 4, 2]).is_ok());
    let overlapping = ViewMut::strided(&mut values, &[2, 3], &[1, 1]);
    assert_eq!(status(overlapping), Status::Shape);
    let overlapping = ViewMut::strided(&mut values, &[2, 3], &[0, 1]);
    assert_eq!(status(overlapping), Status::Shape);
}

#[test]
fn strided_views_run_as_contiguous_ones() {
    let layer = Layer::from_config(r#"{"type": "Delay", "length": 1}"#).unwrap();
    let frames = [1f32, 10.0, 2.0, 20.0, 3.0, 30.0];
    let right = View::strided(&frames[1..], &[1, 3], &[6, 2]).unwrap();
    let mut out = [0f32; 8];
    let mut left = ViewMut::strided(&mut out, &[1, 4], &[8, 2]).unwrap();
    layer.apply(&right, &mut left, Run::new()).unwrap();
    assert_eq!(out, [0.0, 0.0, 10.0, 0.0, 20.0, 0.0, 30.0, 0.0]);
}

#[test]
fn shapes_without_values_are_not_run() {
    let layer = Layer::from_config(r#"{"type": "Abs"}"#).unwrap();
    let shape = Shape::sequence(DType::Float32, &[1, 4]).unwrap();
    let x = View::of_shape(&shape);
    assert_eq!(
        layer.output_shape(Mode::Layer, &x, Run::new()).unwrap(),
        shape
    );
    assert_eq!(
        status(layer.apply_new(&x, Run::new())),
        Status::InvalidArgument
    );
    assert_eq!(status(x.values::<f32>()), Status::InvalidArgument);
    assert_eq!(status(x.to_vec::<f32>()), Status::InvalidArgument);
}

#[test]
fn every_element_type_goes_through_a_layer() {
    fn through<T: Element + PartialEq + std::fmt::Debug>(values: [T; 3]) {
        let layer = Layer::from_config(r#"{"type": "Delay", "length": 1}"#).unwrap();
        let x = Tensor::from_values(&values, &[1, 3]).unwrap();
        assert_eq!(x.dtype(), T::DTYPE);
        assert_eq!(std::mem::size_of::<T>(), T::DTYPE.size(), "{}", T::DTYPE);
        let y = layer.apply_new(&x.view(), Run::new()).unwrap();
        assert_eq!(y.values::<T>().unwrap()[1..], values);
    }
    through([1.5f32, 2.0, 3.0]);
    through([1i32, -2, 3]);
    through([1i8, -2, 3]);
    through([1u8, 0, 1]);
    through([Bf16(0x3f80), Bf16(0x4000), Bf16(0)]);
    through([F16(0x3c00), F16(0x4000), F16(0)]);
    through([
        Complex32 { re: 1.0, im: -1.0 },
        Complex32::default(),
        Complex32::default(),
    ]);
}

#[test]
fn a_layer_tells_what_it_is() {
    let config = r#"{"type": "Serial", "layers": [
        {"type": "Frame", "frame_length": 4, "frame_step": 2}, {"type": "Flatten"}]}"#;
    let layer = Layer::from_config(config).unwrap();
    assert_eq!(layer.block_size().unwrap(), 2);
    assert_eq!(layer.output_ratio().unwrap(), (1, 2));
    assert!(layer.supports_step().unwrap());
    assert_eq!(layer.parameter_count(), 0);
    let spec = ChannelSpec::default();
    let out = layer.output_spec(&spec, &Constants::new()).unwrap();
    assert_eq!(format!("{:?}", out), "float32[4]");
    let text = layer.describe(&spec, &Constants::new()).unwrap();
    assert!(
        text.starts_with('{') && text.contains("\"Frame\""),
        "{}",
        text
    );
    assert_eq!(layer.step_differences().unwrap(), []);
    assert_eq!(layer.constants().unwrap(), []);
    assert_eq!(layer.receptive_field_per_step().unwrap().len(), 1);
    assert_eq!(version().0, 1);
    assert!(built_in_types().iter().any(|name| name == "Conv1D"));
}

#[test]
fn a_state_outlives_the_layer_it_was_made_of() {
    let layer = Layer::from_config(r#"{"type": "Delay", "length": 1}"#).unwrap();
    let mut state = State::new(&layer, &StateOptions::new()).unwrap();
    drop(layer);
    let x = Tensor::from_values(&[1f32], &[1, 1]).unwrap();
    state.step_new(&x.view(), Run::new()).unwrap();
    let moved = std::thread::spawn(move || {
        state
            .step_new(&x.view(), Run::new())
            .unwrap()
            .values::<f32>()
            .unwrap()
            == [1f32]
    });
    assert!(moved.join().unwrap());
}

#[test]
fn items_of_a_batch_are_reset_and_copied_alone() {
    let layer = Layer::from_config(r#"{"type": "Delay", "length": 1}"#).unwrap();
    let options = StateOptions::new().batch(2);
    let mut state = State::new(&layer, &options).unwrap();
    let mut other = State::new(&layer, &options).unwrap();
    let step = |state: &mut State, values: [f32; 2]| {
        let x = Tensor::from_values(&values, &[2, 1]).unwrap();
        let y = state.step_new(&x.view(), Run::new()).unwrap();
        y.values::<f32>().unwrap().to_vec()
    };
    step(&mut state, [1.0, 2.0]);
    state.reset_item(0).unwrap();
    other.copy_item_from(0, &state, 1).unwrap();
    assert_eq!(step(&mut state, [3.0, 4.0]), [0.0, 2.0]);
    assert_eq!(step(&mut other, [0.0, 0.0]), [2.0, 0.0]);
    assert_eq!(status(state.reset_item(2)), Status::InvalidArgument);
    let refused = other.copy_item_from(0, &state, usize::MAX);
    assert_eq!(status(refused), Status::InvalidArgument);
}

#[test]
fn a_stream_continues_in_one_large_block() {
    let layer = Layer::from_config(r#"{"type": "Delay", "length": 2}"#).unwrap();
    let mut state = State::new(&layer, &StateOptions::new()).unwrap();
    let x = Tensor::from_values(&[1f32, 2.0, 3.0, 4.0, 5.0], &[1, 5]).unwrap();
    let y = state.apply_new(&x.view(), Run::new()).unwrap();
    assert_eq!(y.values::<f32>().unwrap(), [0.0, 0.0, 1.0, 2.0, 3.0]);
    let x = Tensor::from_values(&[6f32], &[1, 1]).unwrap();
    let y = state.step_new(&x.view(), Run::new()).unwrap();
    assert_eq!(y.values::<f32>().unwrap(), [4.0]);
}

#[test]
fn tensors_of_a_state_are_read_and_set() {
    let layer = Layer::from_config(r#"{"type": "Delay", "length": 1}"#).unwrap();
    let mut state = State::new(&layer, &StateOptions::new()).unwrap();
    let x = Tensor::from_values(&[7f32], &[1, 1]).unwrap();
    state.step_new(&x.view(), Run::new()).unwrap();
    let name = {
        let tensors = state.tensors().unwrap();
        let holds_seven = |view: &View<'_>| {
            view.shape().dtype() == DType::Float32 && view.to_vec::<f32>().unwrap().contains(&7.0)
        };
        let found = tensors.iter().find(|(_, view)| holds_seven(view));
        found.expect("a tensor with the sample").0.to_string()
    };
    let mut tensor = state.tensor_mut(&name).unwrap();
    tensor.values_mut::<f32>().unwrap().fill(9.0);
    let y = state.step_new(&x.view(), Run::new()).unwrap();
    assert_eq!(y.values::<f32>().unwrap(), [9.0]);

    assert_eq!(status(state.tensor_mut("none")), Status::InvalidArgument);
    let indices: Vec<String> = state
        .tensors()
        .unwrap()
        .iter()
        .filter(|(_, view)| view.shape().dtype() == DType::Int32)
        .map(|(name, _)| name.to_string())
        .collect();
    for name in indices {
        assert_eq!(status(state.tensor_mut(&name)), Status::Unsupported);
    }
}

#[test]
fn weights_are_found_again() {
    let mut weights = Weights::new().unwrap();
    let kernel = [1f32, 2.0];
    weights
        .add("params.kernel", &View::array(&kernel, &[2, 1]).unwrap())
        .unwrap();
    assert_eq!(weights.tensor_count(), 1);
    let (name, view) = weights.tensor(0).unwrap();
    assert_eq!((name, view.shape().dims()), ("params.kernel", &[2, 1][..]));
    let found = weights.find("params.kernel").unwrap();
    assert_eq!(found.to_vec::<f32>().unwrap(), kernel);
    assert_eq!(status(weights.find("params.bias")), Status::Weights);
    assert_eq!(status(weights.tensor(1)), Status::InvalidArgument);
    assert_eq!(weights.metadata("format"), None);
    let taken = weights.add("params.kernel", &View::array(&kernel, &[2]).unwrap());
    assert_eq!(status(taken), Status::InvalidArgument);
    assert_eq!(status(Weights::read(&[1, 2, 3])), Status::Weights);
    assert_eq!(status(Weights::open("no such file")), Status::Io);
    let header = br#"{"__metadata__":{"sample_rate":"8000"}}"#;
    let mut image = (header.len() as u64).to_le_bytes().to_vec();
    image.extend(header);
    let read = Weights::read(&image).unwrap();
    assert_eq!(read.metadata("sample_rate"), Some("8000"));
}

#[test]
fn limits_of_a_layer_are_kept() {
    let options = LayerOptions::new().max_bytes(1000).num_threads(2);
    let config = r#"{"type": "Delay", "length": 100000}"#;
    let layer = Layer::create(config, None, &options).unwrap();
    assert_eq!(
        status(State::new(&layer, &StateOptions::new())),
        Status::OutOfMemory
    );
    let too_many = LayerOptions::new().num_threads(257);
    assert_eq!(
        status(Layer::create(config, None, &too_many)),
        Status::InvalidArgument
    );
}

#[test]
fn caches_have_only_some_formats() {
    let config = r#"{"type": "Identity"}"#;
    let made = |format| Layer::create(config, None, &LayerOptions::new().kv_format(format)?);
    assert!(made("int8").is_ok());
    assert_eq!(status(made("int4")), Status::InvalidArgument);
}

#[test]
fn threads_are_lent_while_there_is_room() {
    let config = r#"{"type": "Identity"}"#;
    let layer = Layer::create(config, None, &LayerOptions::new().max_lent_threads(1)).unwrap();
    let mut calls = 0;
    layer
        .lend_thread(|| {
            calls += 1;
            assert_eq!(
                layer.lend_thread(|| false).unwrap_err().status(),
                Status::InvalidArgument
            );
            calls < 10
        })
        .unwrap();
    assert_eq!(calls, 10);
    let lend_and_panic = || layer.lend_thread(|| panic!("enough"));
    assert!(catch_unwind(AssertUnwindSafe(lend_and_panic)).is_err());
    layer.lend_thread(|| false).unwrap();
    let none = Layer::create(config, None, &LayerOptions::new()).unwrap();
    let refused = none.lend_thread(|| true).unwrap_err();
    assert_eq!(refused.status(), Status::InvalidArgument);
    let too_many = LayerOptions::new().max_lent_threads(64);
    assert_eq!(
        status(Layer::create(config, None, &too_many)),
        Status::InvalidArgument
    );
}

#[test]
fn packed_weights_are_written_and_read() {
    let kernel = Tensor::from_values(&[0.5f32; 64 * 64], &[64, 64]).unwrap();
    let mut weights = Weights::new().unwrap();
    weights.add("params.kernel", &kernel.view()).unwrap();
    let config = r#"{"type": "Dense", "features": 64, "use_bias": false}"#;
    let bfloat16 = LayerOptions::new().weight_format("bfloat16").unwrap();
    let layer = Layer::create(config, Some(&weights), &bfloat16).unwrap();
    let path = std::env::temp_dir().join(format!("packed-{}.safetensors", std::process::id()));
    layer.save_weights(&path).unwrap();
    let packed = Weights::open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let again = Layer::create(config, Some(&packed), &LayerOptions::new()).unwrap();
    let x = Tensor::from_values(&[1f32; 64], &[1, 1, 64]).unwrap();
    let y = again.apply_new(&x.view(), Run::new()).unwrap();
    assert_eq!(y.values::<f32>().unwrap(), [32.0; 64]);
    let refused = again.save_weights("/no/such/folder/packed.safetensors");
    assert_eq!(status(refused), Status::Io);
}

#[test]
fn strings_with_a_zero_are_refused() {
    assert_eq!(status(Layer::open("a\0b")), Status::InvalidArgument);
    let value = [1f32];
    let view = View::array(&value, &[1]).unwrap();
    assert_eq!(
        status(Constants::new().with("a\0b", view)),
        Status::InvalidArgument
    );
}

#[test]
fn numbers_of_later_versions_are_kept() {
    assert_eq!(Status::from_code(999), Status::Other(999));
    assert_eq!(Status::Other(999).code(), 999);
    assert_eq!(DType::from_code(99).size(), 0);
    assert_eq!(DType::from_code(DType::Int8.code()), DType::Int8);
}

/// A pipe of one channel through a model.
fn pipe(config: &str) -> Box<Pipe> {
    let options = PipeOptions::new().host_rate(48000.0).max_frames(64);
    Box::new(Pipe::new(&Layer::from_config(config).unwrap(), &options).unwrap())
}

#[test]
fn pipes_check_their_buffers() {
    let mut pipe = pipe(r#"{"type": "Identity"}"#);
    let mut out = [0f32; 65];
    let mut played = |input: &[&[f32]], frames: usize| {
        let mut output = [&mut out[..frames]];
        pipe.process(input, &mut output)
    };
    assert_eq!(played(&[&[1.0; 64]], 64), Ok(()));
    assert_eq!(played(&[&[1.0; 64]], 63), Err(Status::Shape));
    assert_eq!(played(&[], 64), Err(Status::Shape));
    assert_eq!(played(&[&[1.0; 64], &[1.0; 64]], 64), Err(Status::Shape));
    assert_eq!(played(&[&[1.0; 65]], 65), Err(Status::InvalidArgument));
    assert_eq!(status(pipe.flush(&mut [])), Status::Shape);
    assert_eq!(status(pipe.set_dry(f32::NAN)), Status::InvalidArgument);
}

#[test]
fn pipes_flush_what_is_late() {
    let mut pipe = pipe(r#"{"type": "Lookahead", "length": 5}"#);
    assert_eq!(pipe.latency(), 5);
    let input: Vec<f32> = (1..=10u8).map(f32::from).collect();
    let mut output = vec![0f32; 10];
    pipe.process(&[&input], &mut [&mut output]).unwrap();
    loop {
        let mut rest = [0f32; 3];
        match pipe.flush(&mut [&mut rest]).unwrap() {
            0 => break,
            frames => output.extend(&rest[..frames]),
        }
    }
    // The model drops the first five steps, and is late by five.
    assert_eq!(output[5..10], input[5..]);
    assert_eq!(output.len(), 15);
    assert!(output[10..].iter().all(|&sample| sample == 0.0));
    assert!(pipe.process(&[&input], &mut [&mut output[..10]]).is_err());
    pipe.reset().unwrap();
    pipe.process(&[&input], &mut [&mut output[..10]]).unwrap();
}

#[test]
fn swapped_models_live_as_long_as_they_are_heard() {
    let scale = |by: f32| pipe(&format!(r#"{{"type": "Scale", "scale": {}}}"#, by));
    let mut playing = scale(1.0);
    playing.swap(scale(0.5)).unwrap();
    assert!(playing.is_fading());
    assert!(playing.take_retired().is_none());
    let refused = playing.swap(scale(0.25)).unwrap_err();
    assert_eq!(refused.status, Status::InvalidArgument);
    let mut out = [0f32; 64];
    let mut calls = 0;
    let retired = loop {
        playing.process(&[&[1.0; 64]], &mut [&mut out]).unwrap();
        calls += 1;
        if let Some(retired) = playing.take_retired() {
            break retired;
        }
        assert!(calls < 1000);
    };
    assert_eq!(out[63], 0.5);
    drop(retired);
    playing.swap(refused.pipe).unwrap();
    drop(playing); // in the middle of a cross-fade
    let options = PipeOptions::new().host_rate(44100.0);
    let layer = Layer::from_config(r#"{"type": "Identity"}"#).unwrap();
    let other = Box::new(Pipe::new(&layer, &options).unwrap());
    let refused = scale(1.0).swap(other).unwrap_err();
    assert_eq!(refused.status, Status::InvalidArgument);
    assert!(
        refused.to_string().contains("invalid argument"),
        "{}",
        refused
    );
}

#[test]
fn a_stepper_whose_state_was_exchanged_refuses_or_runs() {
    let state = |config: &str| {
        let layer = Layer::from_config(config).unwrap();
        State::new(&layer, &StateOptions::new()).unwrap()
    };
    let conditioned = {
        let config = r#"{"type": "Conditioning", "conditioning_name": "bias", "projection": "identity",
            "combination": "add"}"#;
        let layer = Layer::from_config(config).unwrap();
        let bias = [5f32];
        let bias = View::array(&bias, &[1, 1]).unwrap();
        let constants = Constants::new().with("bias", bias).unwrap();
        let spec = ChannelSpec::new(DType::Float32, &[1]).unwrap();
        let options = StateOptions::new().input(spec).constants(&constants);
        State::new(&layer, &options).unwrap()
    };
    let mut stepper: Stepper = Stepper::new(conditioned, 1).unwrap();
    stepper
        .constant_mut(0)
        .unwrap()
        .values_mut::<f32>()
        .unwrap()[0] = 5.0;
    assert_eq!(stepper.process(&[1.0]).unwrap(), [6.0]);
    // The names of the constants outlive the state that brought them.
    drop(std::mem::replace(
        stepper.state_mut(),
        state(r#"{"type": "Abs"}"#),
    ));
    assert_eq!(stepper.process(&[1.0]), Err(Status::Shape));
    assert!(!stepper.message().is_empty());
}
