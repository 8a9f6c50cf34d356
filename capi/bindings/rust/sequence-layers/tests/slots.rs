//! Streams in the slots of states and decoders: the scripts of packaging/bindings/README.md.

mod support;

use sequence_layers::*;
use support::json::Json;
use support::{assert_close, model, sequence, steps, values};

/// A copy of the parts of `source` that go with a step: of `streams[i]` the block `blocks[i]`; all of an array, and of a
/// sequence that is as long as a block.
fn items(source: &Tensor, streams: &[usize], blocks: &[usize], block: usize) -> Tensor {
    let dims = source.shape().dims();
    let mut out_dims = dims.to_vec();
    out_dims[0] = streams.len();
    let is_array = source.shape().is_array();
    let (time, block) = if is_array { (1, 1) } else { (dims[1], block) };
    let row: usize = dims[1..].iter().product::<usize>() / time;
    let shape = if is_array {
        Shape::array(source.dtype(), &out_dims)
    } else {
        out_dims[1] = block;
        Shape::sequence(source.dtype(), &out_dims)
    };
    let mut out = Tensor::zeros(&shape.unwrap()).unwrap();
    let from = source.values::<f32>().unwrap();
    for (i, (&stream, &index)) in streams.iter().zip(blocks).enumerate() {
        let begin = stream * time + if block < time { index * block } else { 0 };
        out.values_mut::<f32>().unwrap()[i * block * row..][..block * row]
            .copy_from_slice(&from[begin * row..][..block * row]);
        if !is_array {
            out.mask_mut()[i * block..][..block].copy_from_slice(&source.mask()[begin..][..block]);
        }
    }
    out
}

struct Case<'a> {
    part: &'a Json,
    layer: Layer,
    block: usize,
    x: Tensor,
    expected: Tensor,
    constants: Vec<(String, bool, Tensor)>,
    /// The output of each block of each stream in a state of its own.
    alone: Vec<Vec<Tensor>>,
}

impl<'a> Case<'a> {
    fn new(part: &'a Json) -> Self {
        let constant = |part: &Json| {
            let name = part["name"].text().to_string();
            if part["kind"].text() == "sequence" {
                return (name, part["streamed"].is_true(), sequence(part));
            }
            let shape = Shape::array(DType::Float32, &part["values"]["shape"].sizes()).unwrap();
            let mut array = Tensor::zeros(&shape).unwrap();
            array
                .values_mut()
                .unwrap()
                .copy_from_slice(&values::<f32>(&part["values"]));
            (name, false, array)
        };
        let mut case = Case {
            part,
            layer: Layer::open(model(part)).unwrap(),
            block: part["block"].size(),
            x: sequence(&part["input"]),
            expected: sequence(&part["expected"]),
            constants: part["constants"].list().iter().map(constant).collect(),
            alone: Vec::new(),
        };
        let streams = 0..case.x.shape().dims()[0];
        case.alone = streams.map(|stream| case.run_alone(stream)).collect();
        case
    }

    fn run_alone(&self, stream: usize) -> Vec<Tensor> {
        let mut state = self.state(1);
        let blocks = 0..self.x.shape().dims()[1] / self.block;
        let step = |block| {
            let x = items(&self.x, &[stream], &[block], self.block);
            let values = self.constants(&[stream], &[block]);
            let constants = self.named(&values);
            let run = Run::new().constants(&constants);
            state.step_new(&x.view(), run).unwrap()
        };
        blocks.map(step).collect()
    }

    /// The values of the constants that go with a step.
    fn constants(&self, streams: &[usize], blocks: &[usize]) -> Vec<Tensor> {
        let value = |(_, streamed, value): &(String, bool, Tensor)| {
            let whole = value.shape().dims()[1];
            let block = if *streamed { self.block } else { whole };
            items(value, streams, blocks, block)
        };
        self.constants.iter().map(value).collect()
    }

    fn named<'v>(&self, values: &'v [Tensor]) -> Constants<'v> {
        let mut out = Constants::new();
        for ((name, ..), value) in self.constants.iter().zip(values) {
            out.set(name, value.view()).unwrap();
        }
        out
    }

    fn state(&self, batch: usize) -> State {
        let values = self.constants(&vec![0; batch], &vec![0; batch]);
        let constants = self.named(&values);
        let channels = self.part["channel_shape"].sizes();
        let options = StateOptions::new()
            .batch(batch)
            .input(ChannelSpec::new(DType::Float32, &channels).unwrap())
            .constants(&constants);
        State::new(&self.layer, &options).unwrap()
    }

    /// Compares what a step gave with what each stream gives alone, and with what was recorded.
    fn check(&self, call: &Json, y: &Tensor, what: &str) {
        let steps_of_block = y.shape().dims()[1];
        let pairs = call["streams"]
            .sizes()
            .into_iter()
            .zip(call["blocks"].sizes());
        for (i, (stream, block)) in pairs.enumerate() {
            let found = items(y, &[i], &[0], steps_of_block);
            let what = format!("{}: item {}, stream {}, block {}", what, i, stream, block);
            assert_close(&found.view(), &self.alone[stream][block], 0.0, &what);
            let begin = block * steps_of_block;
            let expected = steps(&self.expected, begin, begin + steps_of_block);
            let expected = items(&expected, &[stream], &[0], steps_of_block);
            assert_close(
                &found.view(),
                &expected,
                self.part["tolerance"].number(),
                &what,
            );
        }
    }
}

/// What has states: themselves, or steppers of them.
trait Streams {
    fn state(&mut self) -> &mut State;
}

impl Streams for State {
    fn state(&mut self) -> &mut State {
        self
    }
}

impl Streams for Stepper {
    fn state(&mut self) -> &mut State {
        self.state_mut()
    }
}

fn run<S: Streams>(script: &[Json], states: &mut [S], mut step: impl FnMut(&mut S, &Json, &str)) {
    for (index, call) in script.iter().enumerate() {
        let number = |key| call[key].size();
        let target = number("state");
        match call["call"].text() {
            "reset" => states[target].state().reset_item(number("slot")).unwrap(),
            "step" => step(&mut states[target], call, &format!("call {}", index)),
            "copy" if target == number("from_state") => states[target]
                .state()
                .copy_item_within(number("slot"), number("from_slot"))
                .unwrap(),
            "copy" => {
                let (before, after) = states.split_at_mut(target.max(number("from_state")));
                let (a, b) = (before.last_mut().unwrap(), &mut after[0]);
                let (to, from) = if target < number("from_state") {
                    (a, b)
                } else {
                    (b, a)
                };
                to.state()
                    .copy_item_from(number("slot"), from.state(), number("from_slot"))
                    .unwrap();
            }
            "load" => {
                let source = states[number("from_state")].state();
                let saved = source.save_item(number("from_slot")).unwrap();
                assert_eq!(saved.len(), source.save_item_size());
                states[target]
                    .state()
                    .load_item(number("slot"), &saved)
                    .unwrap();
            }
            other => panic!("an unknown call, {}", other),
        }
    }
}

#[test]
fn slots_give_what_streams_give_alone() {
    let manifest = support::manifest();
    for part in manifest["slots"].list() {
        let case = Case::new(part);
        let mut states: Vec<State> = part["batches"]
            .sizes()
            .iter()
            .map(|&batch| case.state(batch))
            .collect();
        run(part["script"].list(), &mut states, |state, call, what| {
            let (streams, blocks) = (call["streams"].sizes(), call["blocks"].sizes());
            let x = items(&case.x, &streams, &blocks, case.block);
            let values = case.constants(&streams, &blocks);
            let constants = case.named(&values);
            let run = Run::new().constants(&constants);
            let y = state
                .step_slots_new(&call["slots"].sizes(), &x.view(), run)
                .unwrap();
            case.check(call, &y, &format!("{}, {}", part["name"].text(), what));
        });
    }
}

#[test]
fn steppers_step_slots() {
    let manifest = support::manifest();
    for part in manifest["slots"].list() {
        let case = Case::new(part);
        let stepper = |&batch: &usize| {
            let stepper = Stepper::new(case.state(batch), case.block).unwrap();
            stepper.with_masks().with_emits().unwrap()
        };
        let mut steppers: Vec<Stepper> = part["batches"].sizes().iter().map(stepper).collect();
        run(
            part["script"].list(),
            &mut steppers,
            |stepper, call, what| {
                let (streams, blocks) = (call["streams"].sizes(), call["blocks"].sizes());
                let x = items(&case.x, &streams, &blocks, case.block);
                let values = x.values::<f32>().unwrap();
                stepper.input_mut()[..values.len()].copy_from_slice(values);
                stepper.input_mask_mut()[..x.mask().len()].copy_from_slice(x.mask());
                for (i, value) in case.constants(&streams, &blocks).iter().enumerate() {
                    let constant = stepper.constant_mut(i).unwrap();
                    let from = value.values::<f32>().unwrap();
                    constant.values_mut::<f32>().unwrap()[..from.len()].copy_from_slice(from);
                    constant.mask_mut()[..value.mask().len()].copy_from_slice(value.mask());
                }
                stepper.step_slots(&call["slots"].sizes()).unwrap();
                let dims = stepper.output_shape();
                let mut y = Tensor::from_values(stepper.output(), dims.dims()).unwrap();
                y.mask_mut().copy_from_slice(stepper.output_mask());
                case.check(call, &y, &format!("{}, {}", part["name"].text(), what));
            },
        );
        let stepper = &mut steppers[1];
        for slots in [&[2][..], &[0, 0], &[0, 1, 0]] {
            assert_eq!(stepper.step_slots(slots), Err(Status::InvalidArgument));
        }
        let state = stepper.state_mut();
        assert_eq!(
            state.copy_item_within(0, 2).unwrap_err().status(),
            Status::InvalidArgument
        );
        let saved = state.save_item(0).unwrap();
        assert_eq!(
            state.load_item(0, &saved[1..]).unwrap_err().status(),
            Status::State
        );
        state
            .step_slots_new(
                &[],
                &Tensor::zeros(case.x.shape()).unwrap().view(),
                Run::new(),
            )
            .unwrap_err();
    }
}

/// Tokens, log probabilities and masks of one choice each.
type Choices = Vec<(i32, f32, u8)>;

fn choices(choice: &Choice<'_>) -> Choices {
    let pairs = choice.tokens.iter().zip(choice.log_probs).zip(choice.mask);
    pairs
        .map(|((&token, &log_prob), &valid)| (token, log_prob, valid))
        .collect()
}

struct TokenStream {
    prompt: Vec<i32>,
    options: DecoderOptions<'static>,
    alone: Choices,
}

impl TokenStream {
    fn new(layer: &Layer, part: &Json) -> Self {
        let given = &part["options"];
        let mut options = DecoderOptions::new()
            .start_token(given["start_token"].int() as i32)
            .seed(given["seed"].int() as u64)
            .temperature(given["temperature"].number() as f32)
            .top_k(given["top_k"].size())
            .top_p(given["top_p"].number() as f32);
        if let Some(stop) = given.get("stop_token") {
            options = options
                .stop_token(stop.int() as i32)
                .pad_token(given["pad_token"].int() as i32);
        }
        let ints = |json: &Json| json.list().iter().map(|token| token.int() as i32).collect();
        let (prompt, tokens): (Vec<i32>, Vec<i32>) = (ints(&part["prompt"]), ints(&part["tokens"]));
        let mut out = TokenStream {
            prompt,
            options,
            alone: Vec::new(),
        };
        let mut decoder = Decoder::new(layer, &options).unwrap();
        out.prompt_into(|tokens| decoder.prefill(tokens, Run::new()));
        for (step, &token) in tokens.iter().enumerate() {
            let choice = choices(&decoder.sample(Run::new()).unwrap())[0];
            let valid = u8::from(step < part["count"].size());
            assert_eq!((choice.0, choice.2), (token, valid), "token {}", step);
            out.alone.push(choice);
        }
        out
    }

    fn prompt_into(&self, prefill: impl FnOnce(&View<'_>) -> Result<()>) {
        prefill(&View::new(&self.prompt, &[1, self.prompt.len()]).unwrap()).unwrap();
    }
}

#[test]
fn slots_of_decoders_have_choices_of_their_own() {
    let part = &support::manifest()["decoder"];
    let (layer, part) = (Layer::open(model(part)).unwrap(), &part["slots"]);
    let streams: Vec<TokenStream> = part["streams"]
        .list()
        .iter()
        .map(|stream| TokenStream::new(&layer, stream))
        .collect();
    let decoder =
        |&batch: &usize| Decoder::new(&layer, &DecoderOptions::new().batch(batch)).unwrap();
    let mut decoders: Vec<Decoder> = part["batches"].sizes().iter().map(decoder).collect();
    for (index, call) in part["script"].list().iter().enumerate() {
        let target = call["state"].size();
        match call["call"].text() {
            "start" => {
                let (slot, stream) = (call["slot"].size(), &streams[call["stream"].size()]);
                decoders[target]
                    .start_slot(slot, Some(&stream.options))
                    .unwrap();
                stream
                    .prompt_into(|tokens| decoders[target].prefill_slot(slot, tokens, Run::new()));
            }
            "sample" => {
                let found = decoders[target].sample_slots(&call["slots"].sizes(), Run::new());
                let pairs = call["streams"]
                    .sizes()
                    .into_iter()
                    .zip(call["blocks"].sizes());
                let expected: Choices = pairs
                    .map(|(stream, step)| streams[stream].alone[step])
                    .collect();
                assert_eq!(choices(&found.unwrap()), expected, "call {}", index);
            }
            moved => move_slot(&mut decoders, call, moved),
        }
    }
    let decoder = &mut decoders[0];
    decoder.copy_slot_within(1, 2).unwrap();
    let pair = choices(&decoder.sample_slots(&[1, 2], Run::new()).unwrap());
    assert_eq!(pair[0], pair[1]);
    decoder.start_slot(0, None).unwrap();
    for slots in [&[3][..], &[0, 0], &[0, 1, 2, 0]] {
        let refused = decoder
            .sample_slots(slots, Run::new())
            .map(|_| ())
            .unwrap_err();
        assert_eq!(refused.status(), Status::InvalidArgument);
        assert!(!refused.message().is_empty());
    }
}

fn move_slot(decoders: &mut [Decoder], call: &Json, how: &str) {
    let (slot, from_slot) = (call["slot"].size(), call["from_slot"].size());
    let (target, from) = (call["state"].size(), call["from_state"].size());
    if how == "load" {
        let saved = decoders[from].save_slot(from_slot).unwrap();
        assert_eq!(saved.len(), decoders[from].save_slot_size());
        return decoders[target].load_slot(slot, &saved).unwrap();
    }
    assert_eq!((how, target, from), ("copy", 1, 0));
    let (sources, targets) = decoders.split_at_mut(1);
    targets[0]
        .copy_slot_from(slot, &sources[0], from_slot)
        .unwrap();
}
