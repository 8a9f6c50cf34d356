'use strict';
const assert = require('node:assert/strict');
const fs = require('node:fs');
const { test } = require('node:test');
const { Worker } = require('node:worker_threads');
const { Layer, Registry, SequenceLayersError, Tensor, Weights } = require('..');
const { at, manifest, array, sequence, setSteps, steps, assertNear, assertClose, probabilities, interleaved } = require('./suite');

test('the VAD streams as onnxruntime does', () => {
  const part = manifest.vad;
  const layer = Layer.open(at(part.model));
  for (const [key, value] of Object.entries(part.metadata)) assert.equal(layer.metadata(key), value);
  assert.equal(layer.metadata('no such key'), undefined);
  const [input, expected] = [array(part.input).values, array(part.expected).values];
  const found = probabilities(layer.newState().stepper(part.block), input, part.block);
  assert.equal(found.length, 713);
  assertNear(found, expected, part.tolerance, 'step-wise');
  assertNear(layer.apply(Tensor.sequence([1, input.length], input)).values, expected, part.tolerance, 'layer-wise');
});

test('saved and forked streams continue bit for bit', () => {
  const part = manifest.vad;
  const layer = Layer.open(at(part.model));
  const [input, block] = [array(part.input).values, part.block];
  const stream = () => layer.newState().stepper(block);
  const unbroken = probabilities(stream(), input, block);
  const [before, after] = [input.subarray(0, part.save_at * block), input.subarray(part.save_at * block)];
  const [original, loaded, copied] = [stream(), stream(), stream()];
  probabilities(original, before, block);
  loaded.state.load(original.state.save());
  copied.state.copyFrom(original.state);
  layer.close(); // lives on in its states
  const forked = original.state.fork().stepper(block);
  original.state.reset();
  for (const other of [loaded, copied, forked]) {
    assert.deepEqual(probabilities(other, after, block), unbroken.slice(part.save_at));
  }
  assert.deepEqual(probabilities(original, before, block), unbroken.slice(0, part.save_at));
});

test('a hundred streams on four threads', async () => {
  const part = manifest.streams;
  assert.deepEqual([part.starts.length, part.threads], [100, 4]);
  const share = part.starts.length / part.threads;
  const run = (starts) => new Promise((resolve, reject) => {
    new Worker(require.resolve('./worker.js'), { workerData: starts }).on('message', resolve).on('error', reject);
  });
  const shares = Array.from({ length: part.threads }, (_, i) => part.starts.slice(i * share, (i + 1) * share));
  const found = (await Promise.all(shares.map(run))).flat();
  const expected = array(part.expected).values;
  found.forEach((stream, i) => {
    assertNear(stream, expected.subarray(i * part.blocks, (i + 1) * part.blocks), part.tolerance, `stream ${i}`);
    assert.deepEqual(stream, interleaved(part, [part.starts[i]])[0]);
  });
  assert.equal(found.length, 100);
});

const constantOf = (part) => (part.kind === 'array' ? array(part.values) : sequence(part));

test('the conformer runs whole', () => {
  const part = manifest.conformer;
  const layer = Layer.open(at(part.model));
  const x = sequence(part.input);
  const constants = Object.fromEntries(part.constants.map((constant) => [constant.name, constantOf(constant)]));
  assert.deepEqual(layer.constants.map(({ name }) => name).sort(), Object.keys(constants).sort());
  const emits = layer.newEmits(x, constants);
  assertClose(layer.apply(x, { constants, emits }), sequence(part.expected), part.tolerance, 'output');
  assert.equal(emits.tensors.size, part.emits.length);
  for (const emit of part.emits) assertClose(emits.get(emit.path), sequence(emit), part.tolerance, emit.path);
  assert.ok(layer.describe({ shape: x.dims.slice(2) }, constants).block_size > 0);
});

test('the conformer steps', () => {
  const part = manifest.conformer;
  const layer = Layer.open(at(part.model));
  const x = sequence(part.input);
  const whole = Object.fromEntries(part.constants.map((constant) => [constant.name, constantOf(constant)]));
  const streamed = part.constants.filter((constant) => constant.streamed).map(({ name }) => name);
  const constants = { ...whole };
  for (const name of streamed) constants[name] = steps(whole[name], 0, part.block);
  const state = layer.newState({ batch: x.dims[0], input: { shape: x.dims.slice(2) }, constants });
  const stepper = state.stepper(part.block, constants);
  const emits = stepper.withEmits();
  const [over, under] = layer.outputRatio;
  for (let begin = 0; begin < x.dims[1]; begin += part.block) {
    setSteps(stepper.x, x, begin);
    for (const name of streamed) setSteps(constants[name], whole[name], begin);
    stepper.step();
    const range = [(begin * over) / under, ((begin + part.block) * over) / under];
    assertClose(stepper.y, steps(sequence(part.expected), ...range), part.tolerance, `step ${begin}`);
    for (const emit of part.emits.filter(({ stepwise }) => stepwise)) {
      assertClose(emits.get(emit.path), steps(sequence(emit), ...range), part.tolerance, `${emit.path} at ${begin}`);
    }
  }
});

function sampled(decoder, count) {
  const out = { tokens: [], logProbs: [], mask: [] };
  for (let i = 0; i < count; ++i) {
    const choice = decoder.sample();
    for (const key of Object.keys(out)) out[key].push(choice[key][0]);
  }
  return out;
}

test('the decoder chooses, stops and samples', () => {
  const part = manifest.decoder;
  const layer = Layer.open(at(part.model));
  const promptTokens = [...array(part.prompt).values];
  const prompt = Tensor.sequence([1, promptTokens.length], promptTokens, 'int32');
  const prompted = (options) => {
    const decoder = layer.newDecoder({ startToken: part.start_token, ...options });
    decoder.prefill(prompt);
    return decoder;
  };
  const expected = [...array(part.greedy.tokens).values];
  const logProbs = array(part.greedy.log_probs).values;
  const greedy = prompted();
  const choices = sampled(greedy, expected.length);
  assert.deepEqual(choices.tokens, expected);
  assertNear(choices.logProbs, logProbs, part.greedy.tolerance, 'log probabilities');
  const given = [...promptTokens, ...expected];
  const known = greedy.logProb(Tensor.sequence([1, given.length], given, 'int32')).values.subarray(promptTokens.length);
  assertNear(known, logProbs, part.greedy.tolerance, 'of given tokens');

  const { count, stop_token: stopToken, pad_token: padToken } = part.stop;
  const stopped = sampled(prompted({ stopToken, padToken }), expected.length);
  assert.deepEqual(stopped.tokens, expected.map((token, i) => (i < count ? token : padToken)));
  assert.deepEqual(stopped.mask, expected.map((_, i) => (i < count ? 1 : 0)));

  const { seed, temperature, top_k: topK, top_p: topP, tokens } = part.sampled;
  const options = { startToken: part.start_token, seed, temperature, topK, topP };
  const [original, fork] = [prompted(options), layer.newDecoder(options)];
  fork.copyFrom(original);
  assert.deepEqual(sampled(original, tokens.length).tokens, tokens);
  assert.deepEqual(sampled(fork, tokens.length).tokens, tokens);
  original.reset();
  original.prefill(prompt);
  assert.deepEqual(sampled(original, tokens.length).tokens, tokens);
});

function provoke(part) {
  const layer = Layer.open(at(part.model));
  const { batch, channel_shape: shape, dtype, max_length: maxLength } = part.options ?? {};
  const newState = () => layer.newState({ batch, maxLength, input: { dtype, shape } });
  const calls = {
    state: newState,
    step() {
      const [state, x] = [newState(), Tensor.sequence(part.shape, undefined, dtype)];
      for (let i = 0; i < (part.steps_before ?? 0); ++i) state.step(x);
      return () => state.step(x, { output: Tensor.sequence([part.shape[0], 1, 1]) });
    },
    apply: () => layer.apply(Tensor.sequence(part.shape, undefined, part.dtype)),
    load() {
      const state = newState();
      return () => state.load(fs.readFileSync(at(part.file)));
    },
    decoder: () => layer.newDecoder({ startToken: part.start_token }),
  };
  const failing = calls[part.call]();
  if (typeof failing === 'function') failing();
}

const isError = ({ code, status, message }) => (error) => {
  assert.ok(error instanceof SequenceLayersError, String(error));
  assert.deepEqual([error.code, error.status], [code, status], error.message);
  assert.ok(error.message.includes(message), error.message);
  return true;
};

for (const part of manifest.errors) {
  test(`error ${part.name}`, () => assert.throws(() => provoke(part), isError(part)));
}

/** y = gain x + s, where s is the sum of the valid x so far. */
class TestGain {
  constructor({ gain }) {
    if (gain < 0) throw new Error(`a gain of ${gain} is negative`);
    this.gain = gain;
  }

  properties() { return { receptiveField: [-Infinity, 0] }; }

  stateSize({ shape }) { return 4 * shape[0]; }

  layer(x, y) { this.step(new ArrayBuffer(4 * x.dims[0] * x.dims[2]), x, y); }

  step(state, x, y) {
    const [sums, [, time, channels]] = [new Float32Array(state), x.dims];
    x.mask.forEach((valid, step) => {
      for (let channel = 0; channel < channels; ++channel) {
        const [sum, index] = [Math.floor(step / time) * channels + channel, step * channels + channel];
        if (valid) sums[sum] += x.values[index];
        y.values[index] = this.gain * x.values[index] + sums[sum];
      }
    });
  }
}

function openCustom(model) {
  const registry = new Registry();
  registry.add('TestGain', (config) => new TestGain(config));
  const layer = Layer.open(at(model), { registry });
  registry.close(); // the model outlives it
  return layer;
}

test('a custom layer', () => {
  const part = manifest.custom;
  const layer = openCustom(part.model);
  const [x, expected] = [sequence(part.input), sequence(part.expected)];
  assertClose(layer.apply(x), expected, part.tolerance, 'layer-wise');
  for (const size of part.steps) {
    const state = layer.newState({ batch: x.dims[0], maxSteps: size, input: { shape: part.channel_shape } });
    for (let begin = 0; begin < x.dims[1]; begin += size) {
      const y = state.step(steps(x, begin, begin + size));
      assertClose(y, steps(expected, begin, begin + size), part.tolerance, `step-wise by ${size}`);
    }
  }
  assert.throws(() => openCustom(part.error.model), isError(part.error));
});

test('closed handles are refused', () => {
  const layer = Layer.open(at(manifest.vad.model));
  const stepper = layer.newState().stepper(manifest.vad.block);
  stepper.close();
  stepper.close();
  layer.close();
  const refused = isError({ code: 1, status: 'INVALID_ARGUMENT', message: 'closed' });
  assert.throws(() => stepper.step(), refused);
  assert.throws(() => layer.newState(), refused);
});

test('caches have only some formats', () => {
  const config = { type: 'Identity' };
  Layer.create(config, undefined, { kvFormat: 'int8' }).close();
  const refused = { status: 'INVALID_ARGUMENT' };
  assert.throws(() => Layer.create(config, undefined, /** @type {any} */ ({ kvFormat: 'int4' })), refused);
});

test('a model of a config and weights', () => {
  const weights = Weights.open(at(`${manifest.vad.model}/model.safetensors`));
  const layer = Layer.create(fs.readFileSync(at(`${manifest.vad.model}/config.json`), 'utf8'), weights);
  weights.close();
  const [part, count] = [manifest.vad, 50];
  const samples = array(part.input).values.subarray(0, count * part.block);
  const found = probabilities(layer.newState().stepper(part.block), samples, part.block);
  assertNear(found, array(part.expected).values.subarray(0, count), part.tolerance, 'probabilities');
});

test('overhead', () => {
  const part = manifest.overhead;
  const stepper = Layer.open(at(part.model)).newState().stepper(1);
  let best = Infinity;
  for (let round = 0; round < part.rounds; ++round) {
    const start = process.hrtime.bigint();
    for (let i = 0; i < part.steps; ++i) stepper.step();
    best = Math.min(best, Number(process.hrtime.bigint() - start) / part.steps);
  }
  const more = best - 1e9 * part.c_seconds_per_step;
  console.log(`overhead: a step takes ${best.toFixed(0)} ns, ${more.toFixed(0)} ns more than in C`);
  assert.ok(best < 100000);
});
