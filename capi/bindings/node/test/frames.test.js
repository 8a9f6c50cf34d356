'use strict';
const test = require('node:test');
const assert = require('node:assert/strict');
const { Layer, Tensor } = require('..');
const { at, manifest, array, sequence, steps, assertNear } = require('./suite');

const part = manifest.frames;
const layer = Layer.open(at(part.model));
const source = sequence(part.constants[0]);
const [streams, time, parts] = part.tokens.shape;
const tokens = array(part.tokens).values;
const row = time * parts;

/** The constants of the steps [begin, end): of all streams, or of one. */
function constants(begin, end, stream) {
  const all = steps(source, begin, end);
  if (stream === undefined) return { source: all };
  const size = all.values.length / streams;
  return { source: Tensor.sequence([1, ...all.dims.slice(1)], all.values.slice(stream * size, (stream + 1) * size)) };
}

const frame = (stream, t) => [...tokens.subarray(stream * row + t * parts, stream * row + (t + 1) * parts)];
const prompt = (of, end) => Tensor.sequence([of.length, end, parts],
  of.flatMap((stream) => [...tokens.subarray(stream * row, stream * row + end * parts)]), 'int32');

test('a decoder chooses frames of tokens', () => {
  const decoder = layer.newDecoder({ batch: streams, constants: constants(0, 1) });
  assert.equal(decoder.stepTokens, parts);
  const logProbs = array(part.log_probs).values;
  const known = decoder.logProb(prompt([0, 1], time), constants(0, time));
  assertNear(known.values, logProbs, part.tolerance, 'given tokens');
  for (let t = 0; t < time; ++t) {
    const choice = decoder.sample(constants(t, t + 1));
    assert.deepEqual([...choice.tokens], [...frame(0, t), ...frame(1, t)]);
    assert.deepEqual([...choice.mask], [1, 1]);
    for (let stream = 0; stream < streams; ++stream) {
      const want = logProbs.subarray(stream * row + t * parts, stream * row + (t + 1) * parts);
      assertNear(choice.logProbs.subarray(stream * parts, (stream + 1) * parts), want, part.tolerance, `frame ${t}`);
    }
  }
  assert.throws(() => decoder.prefill(Tensor.sequence([2, 3], undefined, 'int32'), constants(0, 3)), { status: 'SHAPE' });
});

test('slots of a decoder of frames continue after their prompts', () => {
  const decoder = layer.newDecoder({ batch: streams, constants: constants(0, 1) });
  decoder.prefill(prompt([0, 1], 3), constants(0, 3));
  decoder.startSlot(1);
  decoder.prefillSlot(1, prompt([1], 3), constants(0, 3, 1));
  for (let t = 3; t < time; ++t) {
    for (const slot of [1, 0]) {
      const choice = decoder.sampleSlots([slot], constants(t, t + 1, slot));
      assert.deepEqual([...choice.tokens], frame(slot, t));
      assert.equal(choice.logProbs.length, parts);
    }
  }
});

test('negatives guide frames', () => {
  const { guidance, tokens: guided } = part.guided;
  const want = array(guided).values;
  const decoder = layer.newDecoder({ guidance, constants: constants(0, 1) });
  for (let round = 0; round < 2; ++round) {
    for (let t = 0; t < guided.shape[0]; ++t) {
      assert.deepEqual([...decoder.sample(constants(t, t + 1)).tokens], [...want.subarray(t * parts, (t + 1) * parts)]);
    }
    decoder.startSlot(0, { guidance });
  }
});
