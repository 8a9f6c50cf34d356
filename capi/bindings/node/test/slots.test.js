'use strict';
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { Layer, Tensor } = require('..');
const { at, manifest, array, sequence, steps, assertClose } = require('./suite');

const numbers = (count) => Array(count).fill(0);

/** A copy of what goes with a step: of streams[i] the block blocks[i]; all of an array, and of a sequence as long as a block. */
function items(source, streams, blocks, block) {
  const [, time, ...channels] = source.dims;
  const row = source.values.length / source.dims[0];
  if (source.isArray) {
    const out = Tensor.array([streams.length, ...source.dims.slice(1)], undefined, source.dtype);
    streams.forEach((stream, i) => out.values.set(source.values.subarray(stream * row, (stream + 1) * row), i * row));
    return out;
  }
  const out = Tensor.sequence([streams.length, block, ...channels], undefined, source.dtype);
  streams.forEach((stream, i) => {
    const begin = stream * time + (block < time ? blocks[i] * block : 0);
    const size = row / time;
    out.values.set(source.values.subarray(begin * size, (begin + block) * size), i * block * size);
    out.mask.set(source.mask.subarray(begin, begin + block), i * block);
  });
  return out;
}

class Case {
  constructor(part) {
    this.part = part;
    this.layer = Layer.open(at(part.model));
    [this.x, this.expected] = [sequence(part.input), sequence(part.expected)];
    this.values = part.constants.map((constant) => (constant.kind === 'array' ? array(constant.values) : sequence(constant)));
    this.alone = Array.from({ length: this.x.dims[0] }, (_, stream) => {
      const state = this.newState(1);
      return Array.from({ length: this.x.dims[1] / part.block }, (__, block) => {
        const constants = this.constants([stream], [block]);
        return state.step(items(this.x, [stream], [block], part.block), { constants });
      });
    });
  }

  constants(streams, blocks) {
    return Object.fromEntries(this.part.constants.map(({ name, streamed }, i) => {
      const block = streamed ? this.part.block : this.values[i].dims[1];
      return [name, items(this.values[i], streams, blocks, block)];
    }));
  }

  newState(batch) {
    const constants = this.constants(numbers(batch), numbers(batch));
    return this.layer.newState({ batch, input: { shape: this.part.channel_shape }, constants });
  }

  newStates() { return this.part.batches.map((batch) => this.newState(batch)); }

  /** Compares what a step gave with what each stream gives alone, and with what was recorded. */
  check({ streams, blocks }, y, what) {
    const time = y.dims[1];
    streams.forEach((stream, i) => {
      const found = items(y, [i], [0], time);
      const where = `${this.part.name}, ${what}: item ${i}, stream ${stream}, block ${blocks[i]}`;
      assertClose(found, this.alone[stream][blocks[i]], 0, where);
      const expected = items(steps(this.expected, blocks[i] * time, (blocks[i] + 1) * time), [stream], [0], time);
      assertClose(found, expected, this.part.tolerance, where);
    });
  }

  run(states, step) {
    this.part.script.forEach((given, index) => {
      const { state, slot, from_state: from, from_slot: fromSlot } = given;
      const calls = {
        reset: () => states[state].resetItem(slot),
        step: () => step(states[state], given, `call ${index}`),
        copy: () => states[state].copyItemFrom(slot, states[from], fromSlot),
        load: () => states[state].loadItem(slot, states[from].saveItem(fromSlot)),
      };
      calls[given.call]();
    });
  }
}

for (const part of manifest.slots) {
  test(`slots of the ${part.name} give what streams give alone`, () => {
    const given = new Case(part);
    given.run(given.newStates(), (state, call, what) => {
      const x = items(given.x, call.streams, call.blocks, part.block);
      const y = state.stepSlots(call.slots, x, { constants: given.constants(call.streams, call.blocks) });
      given.check(call, y, what);
    });
  });

  test(`steppers step slots of the ${part.name}`, () => {
    const given = new Case(part);
    const states = given.newStates();
    const buffers = new Map(states.map((state, i) => {
      const constants = given.constants(numbers(part.batches[i]), numbers(part.batches[i]));
      const stepper = state.stepper(part.block, constants);
      return [state, { constants, stepper, emits: stepper.withEmits() }];
    }));
    const put = (target, source) => {
      target.values.set(source.values);
      target.mask?.set(source.mask);
    };
    given.run(states, (state, call, what) => {
      const { constants, stepper, emits } = buffers.get(state);
      put(stepper.x, items(given.x, call.streams, call.blocks, part.block));
      for (const [name, value] of Object.entries(given.constants(call.streams, call.blocks))) put(constants[name], value);
      assert.equal(stepper.stepSlots(call.slots), stepper.output);
      given.check(call, stepper.y, what);
      if (part.name === 'conformer') assert.notEqual(emits.get('layers_5.encoded').values[0], 0);
    });
    const { stepper } = buffers.get(states[1]);
    for (const slots of [[2], [0, 0], [0, 1, 0], [-1]]) {
      assert.throws(() => stepper.stepSlots(slots), { status: 'INVALID_ARGUMENT' });
    }
    const saved = states[1].saveItem(0);
    assert.throws(() => states[1].loadItem(0, saved.subarray(1)), { status: 'STATE' });
  });
}

test('slots of a decoder have choices of their own', () => {
  const { model, slots: part } = manifest.decoder;
  const layer = Layer.open(at(model));
  const keys = ['tokens', 'logProbs', 'mask'];
  const streams = part.streams.map(({ prompt, options, tokens, count }) => {
    const { start_token: startToken, stop_token: stopToken, pad_token: padToken, seed, temperature, top_k: topK, top_p: topP } = options;
    const choices = { startToken, stopToken, padToken, seed, temperature, topK, topP };
    const decoder = layer.newDecoder(choices);
    const given = Tensor.sequence([1, prompt.length], prompt, 'int32');
    decoder.prefill(given);
    const alone = tokens.map(() => {
      const choice = decoder.sample();
      return keys.map((key) => choice[key][0]);
    });
    assert.deepEqual(alone.map(([token]) => token), tokens);
    assert.deepEqual(alone.map(([, , valid]) => valid), tokens.map((_, i) => (i < count ? 1 : 0)));
    return { choices, prompt: given, alone };
  });
  const decoders = part.batches.map((batch) => layer.newDecoder({ batch }));
  part.script.forEach((given, index) => {
    const { state, slot, stream, from_state: from, from_slot: fromSlot } = given;
    const calls = {
      start() {
        decoders[state].startSlot(slot, streams[stream].choices);
        decoders[state].prefillSlot(slot, streams[stream].prompt);
      },
      sample() {
        const choice = decoders[state].sampleSlots(given.slots);
        const found = given.slots.map((_, i) => keys.map((key) => choice[key][i]));
        assert.equal(choice.tokens.length, given.slots.length);
        assert.deepEqual(found, given.streams.map((of, i) => streams[of].alone[given.blocks[i]]), `call ${index}`);
      },
      copy: () => decoders[state].copySlotFrom(slot, decoders[from], fromSlot),
      load: () => decoders[state].loadSlot(slot, decoders[from].saveSlot(fromSlot)),
    };
    calls[given.call]();
  });
  decoders[0].startSlot(0);
  assert.throws(() => decoders[0].sampleSlots([3]), { status: 'INVALID_ARGUMENT' });
});
