//! Decoders of several tokens a step: packaging/bindings/README.md.

mod support;

use sequence_layers::*;
use support::json::Json;
use support::{assert_near, model, sequence, steps, values};

/// A model whose steps have several tokens, with the tokens `[stream, time, token]` that its streams give.
struct Frames {
    layer: Layer,
    part: Json,
    source: Tensor,
    tokens: Vec<i32>,
    time: usize,
    parts: usize,
}

impl Frames {
    fn open() -> Self {
        let part = support::manifest()["frames"].clone();
        let dims = part["tokens"]["shape"].sizes();
        Frames {
            layer: Layer::open(model(&part)).unwrap(),
            source: sequence(&part["constants"].list()[0]),
            tokens: values(&part["tokens"]),
            time: dims[1],
            parts: dims[2],
            part,
        }
    }

    /// The source of all streams in the steps `[begin, end)`.
    fn source(&self, begin: usize, end: usize) -> Tensor {
        steps(&self.source, begin, end)
    }

    /// The source of one stream.
    fn source_of(&self, stream: usize, begin: usize, end: usize) -> Tensor {
        let all = self.source(begin, end);
        let channels = all.values::<f32>().unwrap().len() / (2 * (end - begin));
        let size = (end - begin) * channels;
        let shape = Shape::sequence(DType::Float32, &[1, end - begin, channels]).unwrap();
        let mut out = Tensor::zeros(&shape).unwrap();
        let values = &all.values::<f32>().unwrap()[stream * size..][..size];
        out.values_mut().unwrap().copy_from_slice(values);
        out
    }

    /// The first tokens of one stream.
    fn of(&self, stream: usize, begin: usize, end: usize) -> &[i32] {
        let stream = &self.tokens[stream * self.time * self.parts..];
        &stream[begin * self.parts..end * self.parts]
    }

    fn prompt(&self, streams: &[usize], end: usize) -> Vec<i32> {
        let tokens = streams.iter().flat_map(|&stream| self.of(stream, 0, end));
        tokens.copied().collect()
    }
}

fn run<'a>(constants: &'a Constants<'a>) -> Run<'a> {
    Run::new().constants(constants)
}

#[test]
fn a_decoder_chooses_frames_of_tokens() {
    let frames = Frames::open();
    let (time, parts) = (frames.time, frames.parts);
    let first = frames.source(0, 1);
    let spec = Constants::new().with("source", first.view()).unwrap();
    let options = DecoderOptions::new().batch(2).constants(&spec);
    let mut decoder = Decoder::new(&frames.layer, &options).unwrap();
    assert_eq!(decoder.step_tokens(), parts);

    let expected = values::<f32>(&frames.part["log_probs"]);
    let tolerance = frames.part["tolerance"].number();
    let dims = [2, time, parts];
    let mut known = vec![0f32; expected.len()];
    let whole = Constants::new()
        .with("source", frames.source.view())
        .unwrap();
    decoder
        .log_prob(
            &View::new(&frames.tokens, &dims).unwrap(),
            &mut ViewMut::new(&mut known, &dims).unwrap(),
            run(&whole),
        )
        .unwrap();
    assert_near(&known, &expected, tolerance, "given tokens");

    for t in 0..time {
        let source = frames.source(t, t + 1);
        let constants = Constants::new().with("source", source.view()).unwrap();
        let choice = decoder.sample(run(&constants)).unwrap();
        assert_eq!(choice.tokens[..parts], *frames.of(0, t, t + 1));
        assert_eq!(choice.tokens[parts..], *frames.of(1, t, t + 1));
        assert_eq!(choice.mask, [1, 1]);
        for (stream, found) in choice.log_probs.chunks(parts).enumerate() {
            let from = (stream * time + t) * parts;
            assert_near(found, &expected[from..from + parts], tolerance, "sampled");
        }
    }
    let refused = decoder.prefill(&View::new(&[6; 6], &[2, 3]).unwrap(), run(&whole));
    assert_eq!(refused.unwrap_err().status(), Status::Shape);
}

#[test]
fn slots_of_frames_continue_after_their_prompts() {
    let frames = Frames::open();
    let first = frames.source(0, 1);
    let spec = Constants::new().with("source", first.view()).unwrap();
    let options = DecoderOptions::new().batch(2).constants(&spec);
    let mut decoder = Decoder::new(&frames.layer, &options).unwrap();
    let (prompt, source) = (frames.prompt(&[0, 1], 3), frames.source(0, 3));
    let constants = Constants::new().with("source", source.view()).unwrap();
    let tokens = View::new(&prompt, &[2, 3, frames.parts]).unwrap();
    decoder.prefill(&tokens, run(&constants)).unwrap();

    decoder.start_slot(1, None).unwrap();
    let (prompt, source) = (frames.prompt(&[1], 3), frames.source_of(1, 0, 3));
    let constants = Constants::new().with("source", source.view()).unwrap();
    let tokens = View::new(&prompt, &[1, 3, frames.parts]).unwrap();
    decoder.prefill_slot(1, &tokens, run(&constants)).unwrap();

    for t in 3..frames.time {
        for slot in [1, 0] {
            let source = frames.source_of(slot, t, t + 1);
            let constants = Constants::new().with("source", source.view()).unwrap();
            let choice = decoder.sample_slots(&[slot], run(&constants)).unwrap();
            assert_eq!(choice.tokens, frames.of(slot, t, t + 1));
            assert_eq!(choice.log_probs.len(), frames.parts);
        }
    }
}

#[test]
fn negatives_guide_frames() {
    let frames = Frames::open();
    let part = &frames.part["guided"];
    let guidance = [part["guidance"].list()[0].number() as f32];
    let expected = values::<i32>(&part["tokens"]);
    let first = frames.source(0, 1);
    let spec = Constants::new().with("source", first.view()).unwrap();
    let options = DecoderOptions::new().guidance(&guidance).constants(&spec);
    let mut decoder = Decoder::new(&frames.layer, &options).unwrap();
    for _ in 0..2 {
        for (t, frame) in expected.chunks(frames.parts).enumerate() {
            let source = frames.source(t, t + 1);
            let constants = Constants::new().with("source", source.view()).unwrap();
            assert_eq!(decoder.sample(run(&constants)).unwrap().tokens, frame);
        }
        decoder.start_slot(0, Some(&options)).unwrap();
    }
}
