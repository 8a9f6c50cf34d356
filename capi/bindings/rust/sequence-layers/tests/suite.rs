//! The suite that every binding passes: packaging/bindings/README.md.

mod support;

use sequence_layers::*;
use std::path::Path;
use std::thread;
use support::json::Json;
use support::{assert_close, assert_near, model, sequence, steps, values};

/// A stream of the VAD.
fn vad_stream(layer: &Layer) -> Stepper<f32, f32> {
    let block = layer.block_size().unwrap();
    Stepper::new(State::new(layer, &StateOptions::new()).unwrap(), block).unwrap()
}

/// The probabilities of the blocks of some samples.
fn probabilities(stream: &mut Stepper, samples: &[f32], block: usize) -> Vec<f32> {
    samples
        .chunks_exact(block)
        .map(|block| stream.process(block).unwrap()[0])
        .collect()
}

#[test]
fn vad_streams_as_onnxruntime_does() {
    let part = &support::manifest()["vad"];
    let layer = Layer::open(model(part)).unwrap();
    for (key, value) in part["metadata"].entries() {
        assert_eq!(layer.metadata(key), Some(value.text()), "{}", key);
    }
    assert_eq!(layer.metadata("no such key"), None);

    let (input, block) = (values::<f32>(&part["input"]), part["block"].size());
    let expected = values::<f32>(&part["expected"]);
    assert_eq!(expected.len(), 713);
    let found = probabilities(&mut vad_stream(&layer), &input, block);
    let tolerance = part["tolerance"].number();
    assert_near(&found, &expected, tolerance, "step-wise");

    let x = View::new(&input, &[1, input.len()]).unwrap();
    let whole = layer.apply_new(&x, Run::new()).unwrap();
    assert_near(whole.values().unwrap(), &expected, tolerance, "layer-wise");
}

#[test]
fn saved_and_forked_streams_continue_bit_for_bit() {
    let part = &support::manifest()["vad"];
    let layer = Layer::open(model(part)).unwrap();
    let (input, block) = (values::<f32>(&part["input"]), part["block"].size());
    let unbroken = probabilities(&mut vad_stream(&layer), &input, block);

    let save_at = part["save_at"].size();
    let (before, after) = input.split_at(save_at * block);
    let mut stream = vad_stream(&layer);
    probabilities(&mut stream, before, block);
    let saved = stream.state().save().unwrap();
    assert_eq!(saved.len(), stream.state().save_size());

    let mut loaded = vad_stream(&layer);
    loaded.state_mut().load(&saved).unwrap();
    let mut copied = vad_stream(&layer);
    copied.state_mut().copy_from(stream.state()).unwrap();
    let fork = stream.state().fork().unwrap();
    let mut forked = Stepper::new(fork, block).unwrap();
    stream.state_mut().reset().unwrap();
    for (stream, what) in [
        (&mut loaded, "loaded"),
        (&mut copied, "copied"),
        (&mut forked, "forked"),
    ] {
        let found = probabilities(stream, after, block);
        assert_eq!(found, unbroken[save_at..], "{}", what);
    }
    let again = probabilities(&mut stream, before, block);
    assert_eq!(again, unbroken[..save_at], "reset");
}

#[test]
fn a_hundred_streams_interleave_on_four_threads() {
    let part = &support::manifest()["streams"];
    let layer = Layer::open(model(part)).unwrap();
    let input = values::<f32>(&part["input"]);
    let (block, blocks) = (part["block"].size(), part["blocks"].size());
    let starts = part["starts"].sizes();
    let threads = part["threads"].size();
    assert_eq!((starts.len(), threads), (100, 4));

    let share = (starts.len() + threads - 1) / threads;
    let found: Vec<Vec<f32>> = thread::scope(|scope| {
        let (layer, input) = (&layer, &input);
        let work = |starts| scope.spawn(move || interleaved(layer, input, starts, block, blocks));
        let mut workers = Vec::new();
        workers.extend(starts.chunks(share).map(work)); // all of them run before one is waited for
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap())
            .collect()
    });

    let expected = values::<f32>(&part["expected"]);
    let tolerance = part["tolerance"].number();
    for (stream, (found, expected)) in found.iter().zip(expected.chunks(blocks)).enumerate() {
        let what = format!("stream {}", stream);
        assert_near(found, expected, tolerance, &what);
        let samples = &input[starts[stream]..][..block * blocks];
        let alone = probabilities(&mut vad_stream(&layer), samples, block);
        assert_eq!(*found, alone, "{}", what);
    }
}

/// The probabilities of streams that begin at `starts`, block after block of all of them.
fn interleaved(
    layer: &Layer,
    input: &[f32],
    starts: &[usize],
    block: usize,
    blocks: usize,
) -> Vec<Vec<f32>> {
    let mut streams: Vec<Stepper> = starts.iter().map(|_| vad_stream(layer)).collect();
    let mut out = vec![Vec::new(); starts.len()];
    for index in 0..blocks {
        for (stream, start) in starts.iter().enumerate() {
            let samples = &input[start + index * block..][..block];
            out[stream].push(streams[stream].process(samples).unwrap()[0]);
        }
    }
    out
}

/// The values of a constant: a sequence with its mask, or an array.
fn constant_values(part: &Json) -> (Tensor, bool) {
    if part["kind"].text() == "sequence" {
        return (sequence(part), part["streamed"].is_true());
    }
    let dims = part["values"]["shape"].sizes();
    let mut out = Tensor::zeros(&Shape::array(DType::Float32, &dims).unwrap()).unwrap();
    out.values_mut()
        .unwrap()
        .copy_from_slice(&values::<f32>(&part["values"]));
    (out, false)
}

#[test]
fn conformer_runs_whole_with_constants_and_emits() {
    let part = &support::manifest()["conformer"];
    let layer = Layer::open(model(part)).unwrap();
    let x = sequence(&part["input"]);
    let parts = part["constants"].list();
    let given: Vec<(Tensor, bool)> = parts.iter().map(constant_values).collect();
    let mut constants = Constants::new();
    for (part, (value, _)) in parts.iter().zip(&given) {
        constants.set(part["name"].text(), value.view()).unwrap();
    }
    let mut names: Vec<String> = layer
        .constants()
        .unwrap()
        .into_iter()
        .map(|info| info.name)
        .collect();
    names.sort();
    assert_eq!(names, ["control", "source", "speaker"]);

    let run = Run::new().constants(&constants);
    let shapes = layer.emit_shapes(Mode::Layer, &x.view(), run).unwrap();
    let mut emits: Vec<Tensor> = shapes
        .iter()
        .map(|emit| Tensor::zeros(&emit.shape).unwrap())
        .collect();
    let mut places: Emits<'_> = emits.iter_mut().map(Tensor::view_mut).collect();
    let run = Run::new().constants(&constants).emits(&mut places);
    let y = layer.apply_new(&x.view(), run).unwrap();

    let tolerance = part["tolerance"].number();
    assert_close(&y.view(), &sequence(&part["expected"]), tolerance, "output");
    assert_eq!(emits.len(), part["emits"].list().len());
    for expected in part["emits"].list() {
        let path = expected["path"].text();
        let index = shapes.iter().position(|emit| emit.path == path).unwrap();
        assert_close(&emits[index].view(), &sequence(expected), tolerance, path);
    }
}

#[test]
fn conformer_steps_with_constants_and_emits() {
    let part = &support::manifest()["conformer"];
    let layer = Layer::open(model(part)).unwrap();
    let (x, block) = (sequence(&part["input"]), part["block"].size());
    let parts = part["constants"].list();
    let given: Vec<(Tensor, bool)> = parts.iter().map(constant_values).collect();
    let shares: Vec<Tensor> = given.iter().map(|value| share(value, 0, block)).collect();
    let mut constants = Constants::new();
    for (part, share) in parts.iter().zip(&shares) {
        constants.set(part["name"].text(), share.view()).unwrap();
    }
    let options = StateOptions::new()
        .batch(x.shape().dims()[0])
        .constants(&constants);
    let state = State::new(&layer, &options).unwrap();
    let mut stepper: Stepper = Stepper::new(state, block)
        .unwrap()
        .with_masks()
        .with_emits()
        .unwrap();

    let shapes = stepper_emit_shapes(&mut stepper, &x, block, &constants);
    let (numerator, denominator) = layer.output_ratio().unwrap();
    for begin in (0..x.shape().dims()[1]).step_by(block) {
        let block_of_x = steps(&x, begin, begin + block);
        stepper
            .input_mut()
            .copy_from_slice(block_of_x.values().unwrap());
        stepper.input_mask_mut().copy_from_slice(block_of_x.mask());
        for (index, value) in given.iter().enumerate() {
            *stepper.constant_mut(index).unwrap() = share(value, begin, block);
        }
        stepper.step().unwrap();
        let from = begin * numerator / denominator;
        let to = (begin + block) * numerator / denominator;
        assert_step(&stepper, part, &shapes, from, to);
    }
}

/// The part of a constant that goes with a block: all of one that is not streamed.
fn share((value, streamed): &(Tensor, bool), begin: usize, block: usize) -> Tensor {
    match streamed {
        true => steps(value, begin, begin + block),
        false => value.clone(),
    }
}

/// Checks output and emits of a step that made the output steps [from, to).
fn assert_step(stepper: &Stepper, part: &Json, shapes: &[EmitShape], from: usize, to: usize) {
    let tolerance = part["tolerance"].number();
    let what = format!("output at {}", from);
    let expected = steps(&sequence(&part["expected"]), from, to);
    let mut y = Tensor::from_values(stepper.output(), stepper.output_shape().dims()).unwrap();
    y.mask_mut().copy_from_slice(stepper.output_mask());
    assert_close(&y.view(), &expected, tolerance, &what);
    for emit in part["emits"].list() {
        if emit["stepwise"].is_true() {
            let path = emit["path"].text();
            let index = shapes.iter().position(|known| known.path == path).unwrap();
            let expected = steps(&sequence(emit), from, to);
            let found = stepper.emits()[index].view();
            assert_close(&found, &expected, tolerance, &format!("{}: {}", what, path));
        }
    }
}

fn stepper_emit_shapes(
    stepper: &mut Stepper,
    x: &Tensor,
    block: usize,
    constants: &Constants<'_>,
) -> Vec<EmitShape> {
    let x = steps(x, 0, block);
    stepper
        .state_mut()
        .emit_shapes(&x.view(), Run::new().constants(constants))
        .unwrap()
}

/// Tokens, log probabilities and masks of `count` samples.
fn sampled(decoder: &mut Decoder, count: usize) -> (Vec<i32>, Vec<f32>, Vec<u8>) {
    let mut out = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..count {
        let choice = decoder.sample(Run::new()).unwrap();
        out.0.push(choice.tokens[0]);
        out.1.push(choice.log_probs[0]);
        out.2.push(choice.mask[0]);
    }
    out
}

#[test]
fn decoder_chooses_greedily_stops_and_samples() {
    let part = &support::manifest()["decoder"];
    let layer = Layer::open(model(part)).unwrap();
    let prompt = values::<i32>(&part["prompt"]);
    let prompt = View::new(&prompt, &[1, prompt.len()]).unwrap();
    let options = DecoderOptions::new().start_token(part["start_token"].int() as i32);
    let prompted = |options: DecoderOptions<'_>| {
        let mut decoder = Decoder::new(&layer, &options).unwrap();
        decoder.prefill(&prompt, Run::new()).unwrap();
        decoder
    };

    let greedy = &part["greedy"];
    let expected = values::<i32>(&greedy["tokens"]);
    let (tokens, log_probs, mask) = sampled(&mut prompted(options), expected.len());
    assert_eq!(tokens, expected);
    assert!(mask.iter().all(|&valid| valid == 1));
    let tolerance = greedy["tolerance"].number();
    let expected_log_probs = values::<f32>(&greedy["log_probs"]);
    assert_near(&log_probs, &expected_log_probs, tolerance, "log_probs");

    let stop = &part["stop"];
    let count = stop["count"].size();
    let pad = stop["pad_token"].int() as i32;
    let stopping = options
        .stop_token(stop["stop_token"].int() as i32)
        .pad_token(pad);
    let (tokens, _, mask) = sampled(&mut prompted(stopping), expected.len());
    assert_eq!(tokens[..count], expected[..count]);
    assert_eq!(tokens[count - 1], stop["stop_token"].int() as i32);
    assert!(tokens[count..].iter().all(|&token| token == pad));
    assert!(mask[..count].iter().all(|&valid| valid == 1));
    assert!(mask[count..].iter().all(|&valid| valid == 0));

    let random = &part["sampled"];
    let sampling = options
        .seed(random["seed"].int() as u64)
        .temperature(random["temperature"].number() as f32)
        .top_k(random["top_k"].size())
        .top_p(random["top_p"].number() as f32);
    let expected: Vec<i32> = random["tokens"]
        .list()
        .iter()
        .map(|token| token.int() as i32)
        .collect();
    let mut original = prompted(sampling);
    let mut fork = Decoder::new(&layer, &sampling).unwrap();
    fork.copy_from(&original).unwrap();
    assert_eq!(sampled(&mut original, expected.len()).0, expected);
    assert_eq!(sampled(&mut fork, expected.len()).0, expected);
    original.reset().unwrap();
    original.prefill(&prompt, Run::new()).unwrap();
    assert_eq!(sampled(&mut original, expected.len()).0, expected);
}

#[test]
fn decoder_tells_log_probabilities_of_given_tokens() {
    let part = &support::manifest()["decoder"];
    let layer = Layer::open(model(part)).unwrap();
    let options = DecoderOptions::new().start_token(part["start_token"].int() as i32);
    let decoder = Decoder::new(&layer, &options).unwrap();
    let mut tokens = values::<i32>(&part["prompt"]);
    let prompt_len = tokens.len();
    tokens.extend(values::<i32>(&part["greedy"]["tokens"]));
    let mut log_probs = vec![0f32; tokens.len()];
    let dims = [1, tokens.len()];
    decoder
        .log_prob(
            &View::new(&tokens, &dims).unwrap(),
            &mut ViewMut::new(&mut log_probs, &dims).unwrap(),
            Run::new(),
        )
        .unwrap();
    let expected = values::<f32>(&part["greedy"]["log_probs"]);
    let tolerance = part["greedy"]["tolerance"].number();
    assert_near(&log_probs[prompt_len..], &expected, tolerance, "log_probs");
}

/// The state that a case of an error describes.
fn state_of(layer: &Layer, case: &Json) -> Result<State> {
    let options = &case["options"];
    let dtype = support::dtype(options["dtype"].text());
    let spec = ChannelSpec::new(dtype, &options["channel_shape"].sizes())?;
    let mut state = StateOptions::new()
        .batch(options["batch"].size())
        .input(spec);
    if let Some(max_length) = options.get("max_length") {
        state = state.max_length(max_length.size());
    }
    State::new(layer, &state)
}

/// Does as a case says, which fails.
fn provoke(case: &Json) -> Result<()> {
    let layer = Layer::open(model(case));
    let zeros = |dtype| {
        let shape = Shape::sequence(dtype, &case["shape"].sizes()).unwrap();
        Tensor::zeros(&shape).unwrap()
    };
    match case["call"].text() {
        "open" => layer.map(drop),
        "state" => state_of(&layer.unwrap(), case).map(drop),
        "step" => {
            let mut state = state_of(&layer.unwrap(), case).unwrap();
            let x = zeros(state.input().dtype());
            for _ in 0..case.get("steps_before").map_or(0, Json::size) {
                state.step_new(&x.view(), Run::new()).unwrap();
            }
            let mut y = [0f32; 8];
            let rows = x.shape().dims()[0];
            let mut y = ViewMut::new(&mut y[..rows], &[rows, 1, 1]).unwrap();
            state.step(&x.view(), &mut y, Run::new())
        }
        "apply" => {
            let x = zeros(support::dtype(case["dtype"].text()));
            layer.unwrap().apply_new(&x.view(), Run::new()).map(drop)
        }
        "load" => {
            let bytes = std::fs::read(support::folder().join(case["file"].text())).unwrap();
            state_of(&layer.unwrap(), case).unwrap().load(&bytes)
        }
        "decoder" => {
            let options = DecoderOptions::new().start_token(case["start_token"].int() as i32);
            Decoder::new(&layer.unwrap(), &options).map(drop)
        }
        other => panic!("an unknown call, {}", other),
    }
}

fn assert_error(result: Result<()>, expected: &Json, what: &str) {
    let error = result.expect_err(what);
    assert_eq!(i64::from(error.code()), expected["code"].int(), "{}", what);
    let name = format!("{:?}", error.status()).to_uppercase();
    assert_eq!(name, expected["status"].text().replace('_', ""), "{}", what);
    let part = expected["message"].text();
    assert!(error.message().contains(part), "{}: {}", what, error);
    assert_eq!(error.to_string(), error.message());
}

#[test]
fn errors_have_code_and_message() {
    let manifest = support::manifest();
    let cases = manifest["errors"].list();
    assert!(cases.len() > 20, "{} cases", cases.len());
    for case in cases {
        assert_error(provoke(case), case, case["name"].text());
    }
}

/// y = gain x + s, where s is the sum of the valid x so far.
struct TestGain {
    gain: f32,
}

impl TestGain {
    fn run(&self, sums: &mut [f32], x: &View<'_>, y: &mut ViewMut<'_>) -> Result<()> {
        let dims = x.shape();
        let (time, channels) = (dims.dims()[1], dims.dims()[2]);
        let (x, mask, y) = (x.values::<f32>()?, x.mask().unwrap(), y.values_mut()?);
        for (step, &valid) in mask.iter().enumerate() {
            for channel in 0..channels {
                let sum = &mut sums[step / time * channels + channel];
                let x = x[step * channels + channel];
                if valid != 0 {
                    *sum += x;
                }
                y[step * channels + channel] = self.gain * x + *sum;
            }
        }
        Ok(())
    }
}

impl CustomLayer for TestGain {
    fn properties(&self) -> Result<Properties> {
        let mut properties = Properties::default();
        properties.receptive_field.start = None;
        Ok(properties)
    }

    fn state_size(&self, input: &ChannelSpec) -> Result<usize> {
        Ok(input.shape().iter().product::<usize>() * input.dtype().size())
    }

    fn layer(&self, x: &View<'_>, y: &mut ViewMut<'_>) -> Result<()> {
        let shape = x.shape();
        let mut sums = vec![0.0; shape.dims()[0] * shape.dims()[2]];
        self.run(&mut sums, x, y)
    }

    fn step(&self, state: &mut CustomState<'_>, x: &View<'_>, y: &mut ViewMut<'_>) -> Result<()> {
        self.run(state.values_mut()?, x, y)
    }
}

fn open_with_test_gain(path: &Path) -> Result<Layer> {
    let mut registry = Registry::new()?;
    registry.add("TestGain", |config, _weights| {
        let gain = Json::parse(config)["gain"].number() as f32;
        if gain < 0.0 {
            let message = format!("a gain of {} is negative", gain);
            return Err(Error::new(Status::Callback, message));
        }
        Ok(TestGain { gain })
    })?;
    assert!(registry.types().iter().any(|name| name == "TestGain"));
    // The model outlives the registry.
    Layer::open_with(path, &LayerOptions::new().registry(&registry))
}

#[test]
fn a_custom_layer_runs_whole_and_in_steps() {
    let part = &support::manifest()["custom"];
    assert_eq!(part["type"].text(), "TestGain");
    let layer = open_with_test_gain(&model(part)).unwrap();
    let x = sequence(&part["input"]);
    let expected = sequence(&part["expected"]);
    let tolerance = part["tolerance"].number();
    let y = layer.apply_new(&x.view(), Run::new()).unwrap();
    assert_close(&y.view(), &expected, tolerance, "layer-wise");

    let (batch, time) = (x.shape().dims()[0], x.shape().dims()[1]);
    let spec = ChannelSpec::new(DType::Float32, &part["channel_shape"].sizes()).unwrap();
    for &size in &part["steps"].sizes() {
        let options = StateOptions::new().batch(batch).max_steps(size).input(spec);
        let mut state = State::new(&layer, &options).unwrap();
        for begin in (0..time).step_by(size) {
            let block = steps(&x, begin, begin + size);
            let y = state.step_new(&block.view(), Run::new()).unwrap();
            let expected = steps(&expected, begin, begin + size);
            assert_close(&y.view(), &expected, tolerance, "step-wise");
        }
    }
}

#[test]
fn a_custom_layer_reports_its_error() {
    let expected = &support::manifest()["custom"]["error"];
    let opened = open_with_test_gain(&model(expected)).map(drop);
    assert_error(opened, expected, "a negative gain");
}
