'use strict';
const { c, SIZES, SequenceLayersError, Memory, newError, check, call, json, cString, indexOf, invalid } = require('./abi');
const { Tensor, Constants, Emits, Slots, FirstItems, runOptions, writeSpec, readSpec, arrayOf, writeTo, DTYPES } = require('./tensor');
const { Registry } = require('./custom');
const { Handle, Caller, Weights } = require('./handle');
const { Pipe } = require('./pipe');
const { Profile, setLog } = require('./profile');
const { stringAt } = require('./text');

const INFINITE = 2n ** 63n - 1n;
const addressOf = (memory) => (memory ? memory.address : 0);

/** A model, freed when it and all that was made of it are closed. */
class Model {
  constructor(raw, registry) {
    this.raw = raw;
    this.users = 1;
    this.registry = registry; // its callbacks live on
  }

  take() { this.users += 1; }

  release() {
    this.users -= 1;
    if (this.users === 0) c.sl_layer_free(this.raw);
  }
}

class Layer extends Handle {
  /** @param {Model} model */
  constructor(model) {
    super(model.raw, () => model.release());
    this.model = model;
  }

  static open(directory, options) {
    return Layer.made(options, (raw, out) => call('sl_layer_open', String(directory), raw, out));
  }

  static create(config, weights, options) {
    const text = typeof config === 'string' ? config : JSON.stringify(config);
    const size = Buffer.byteLength(text);
    const tensors = weights ? weights.raw() : 0;
    return Layer.made(options, (raw, out) => call('sl_layer_create', text, size, tensors, raw, out));
  }

  static made({ numThreads = 0, maxBytes = 0, registry, weightFormat, numStepThreads = 0, matmulBackend = 'default', kvFormat } = /** @type {any} */ ({}), make) {
    if (registry && numThreads > 1) throw invalid('layers in JavaScript run on one thread');
    const raw = new Memory(SIZES.layerOptions);
    raw.int32(4, numThreads);
    raw.int64(8, registry ? registry.raw() : 0);
    raw.int64(40, maxBytes);
    raw.pointer(48, weightFormat === undefined ? undefined : cString(weightFormat));
    raw.int32(56, numStepThreads);
    raw.int32(60, indexOf(['default', 'own', 'onednn', 'openblas'], matmulBackend, 'matmulBackend'));
    raw.pointer(64, kvFormat === undefined ? undefined : cString(kvFormat));
    const out = new Memory(8);
    make(raw.address, out.address);
    return new Layer(new Model(out.getInt64(0), registry));
  }

  number(name) {
    const out = new Memory(16);
    call(name, this.raw(), out.address);
    return out.getInt64(0);
  }

  get blockSize() { return this.number('sl_layer_block_size'); }

  get inputLatency() { return this.number('sl_layer_input_latency'); }

  get outputLatency() { return this.number('sl_layer_output_latency'); }

  get supportsStep() { return this.number('sl_layer_supports_step') !== 0; }

  get outputRatio() {
    const out = new Memory(16);
    call('sl_layer_output_ratio', this.raw(), out.address, out.address + 8);
    return [out.getInt64(0), out.getInt64(8)];
  }

  get inputSpec() {
    const out = new Memory(SIZES.channelSpec);
    call('sl_layer_input_spec', this.raw(), out.address);
    return readSpec(out);
  }

  outputSpec(input, constants) {
    const [spec, out, given] = [new Memory(SIZES.channelSpec), new Memory(SIZES.channelSpec), Constants.of(constants)];
    writeSpec(spec, 0, input);
    call('sl_layer_output_spec', this.raw(), spec.address, given ? given.raw.address : 0, given ? given.count : 0, out.address);
    return readSpec(out);
  }

  get receptiveField() {
    const out = new Memory(24);
    call('sl_layer_receptive_field', this.raw(), out.address, out.address + 8, out.address + 16);
    const ends = [8, 16].map((offset) => out.view.getBigInt64(offset, true));
    const number = (end) => (end >= INFINITE ? Infinity : end <= -INFINITE ? -Infinity : Number(end));
    return out.getInt32(0) === 0 ? undefined : ends.map(number);
  }

  get stepDifferences() {
    const conditions = ['always', 'holes', 'padding'];
    return Array.from({ length: c.sl_layer_step_difference_count(this.raw()) }, (_, i) => {
      const raw = new Memory(SIZES.stepDifference);
      raw.int32(0, SIZES.stepDifference);
      call('sl_layer_step_difference', this.raw(), i, raw.address);
      const [layer, type, reason, cure] = [8, 16, 24, 32].map((offset) => stringAt(raw.getInt64(offset)));
      return { condition: conditions[raw.getInt32(4)], layer, type, reason, cure };
    });
  }

  saveWeights(path) { call('sl_layer_save_weights', this.raw(), String(path)); }

  metadata(key) { return c.sl_layer_metadata(this.raw(), key) ?? undefined; }

  describe(input, constants) {
    const [spec, given] = [new Memory(SIZES.channelSpec), Constants.of(constants)];
    writeSpec(spec, 0, input);
    return json('sl_layer_describe', this.raw(), spec.address, given ? given.raw.address : 0, given ? given.count : 0);
  }

  get constants() {
    const kinds = ['any', 'sequence', 'array'];
    return Array.from({ length: c.sl_layer_constant_count(this.raw()) }, (_, i) => {
      const info = new Memory(SIZES.constantInfo);
      info.int32(0, SIZES.constantInfo);
      call('sl_layer_constant', this.raw(), i, info.address);
      const name = stringAt(info.getInt64(8));
      return { name, kind: kinds[info.getInt32(4)], required: info.getInt32(24) !== 0, streamed: info.getInt32(28) !== 0 };
    });
  }

  newOutput(mode, x, constants) {
    return newOutput(this.raw(), mode === 'step' ? 1 : 0, x, runOptions(Constants.of(constants)));
  }

  newEmits(x, constants) { return newEmits(this.raw(), 0, x, Constants.of(constants), 0); }

  apply(x, { constants, emits, output, profile } = /** @type {any} */ ({})) {
    const given = Constants.of(constants);
    const y = output ?? this.newOutput('layer', x, given);
    const run = runOptions(given, emits, 0, profile);
    call('sl_layer_apply', this.raw(), x.raw.address, y.raw.address, addressOf(run));
    return y;
  }

  newState(options) { return new State(this, options); }

  newDecoder(options) { return new Decoder(this, options); }

  newPipe(options) { return new Pipe(this, options); }
}

function newOutput(layer, mode, x, run) {
  const shape = new Memory(SIZES.sequence);
  call('sl_layer_output_shape', layer, mode, x.raw.address, addressOf(run), shape.address);
  return Tensor.like(shape);
}

function newEmits(layer, mode, x, constants, state) {
  const capacity = 4096;
  const [spec, path, shape] = [new Memory(SIZES.channelSpec), new Memory(capacity), new Memory(SIZES.sequence)];
  writeSpec(spec, 0, { dtype: x.dtype, shape: x.dims.slice(2) });
  const [list, size] = constants ? [constants.raw.address, constants.count] : [0, 0];
  const error = newError();
  const count = c.sl_layer_emit_count(layer, spec.address, list, size, error.address);
  if (count < 0) check(error.getInt32(4), error);
  const run = runOptions(constants, undefined, state);
  const tensors = new Map();
  for (let i = 0; i < count; ++i) {
    call('sl_layer_emit_shape', layer, mode, x.raw.address, addressOf(run), i, path.address, capacity, shape.address);
    tensors.set(path.text(), Tensor.like(shape));
  }
  return new Emits(tensors);
}

/** Makes a handle of a model, which it keeps. */
function makeOf(layer, name, options, free) {
  const [out, raw, model] = [new Memory(8), layer.raw(), layer.model];
  call(name, raw, options.address, out.address);
  model.take();
  const handle = out.getInt64(0);
  return [handle, () => { c[free](handle); model.release(); }];
}

class State extends Caller {
  constructor(layer, options = /** @type {any} */ ({})) {
    const raw = new Memory(SIZES.stateOptions);
    const given = Constants.of(options.constants);
    raw.int64(8, options.batch ?? 0);
    raw.int64(16, options.maxSteps ?? 0);
    writeSpec(raw, 24, options.input);
    raw.pointer(104, given && given.raw);
    raw.int64(112, given ? given.count : 0);
    raw.int64(128, options.maxLength ?? 0);
    const [handle, free] = makeOf(layer, 'sl_state_alloc', raw, 'sl_state_free');
    super(handle, free);
    this.model = layer.model;
    this.options = { ...options, constants: given };
    this.slots = new Slots(options.batch || 1);
    this.profile = undefined;
  }

  newOutput(x, constants) { return newOutput(this.model.raw, 1, x, runOptions(constants)); }

  step(x, { constants, emits, output, profile } = /** @type {any} */ ({})) {
    const given = Constants.of(constants);
    const raw = this.raw();
    const y = output ?? this.newOutput(x, given);
    const run = runOptions(given, emits, 0, profile ?? this.profile);
    check(c.sl_layer_step(this.model.raw, raw, x.raw.address, y.raw.address, addressOf(run), this.error.address), this.error);
    return y;
  }

  stepSlots(slots, x, { constants, emits, output, profile } = /** @type {any} */ ({})) {
    const given = Constants.of(constants);
    const raw = this.raw();
    const count = this.slots.set(slots);
    const y = output ?? this.newOutput(x, given);
    const run = runOptions(given, emits, 0, profile ?? this.profile);
    check(c.sl_layer_step_slots(this.model.raw, raw, this.slots.address, count, x.raw.address, y.raw.address, addressOf(run),
      this.error.address), this.error);
    return y;
  }

  record(profile) { this.profile = profile; }

  stepper(steps, constants) { return new Stepper(this, steps, constants); }

  newEmits(x, constants) { return newEmits(this.model.raw, 1, x, Constants.of(constants), this.raw()); }

  reset() { this.do('sl_state_reset'); }

  resetItem(item) { this.do('sl_state_reset_item', item); }

  copyFrom(source) { this.do('sl_state_copy', source.raw()); }

  copyItemFrom(item, source, sourceItem) { this.do('sl_state_copy_item', item, source.raw(), sourceItem); }

  saveItem(item) { return this.saved('sl_state_save_item', item); }

  loadItem(item, bytes) { this.restore('sl_state_load_item', bytes, item); }

  /** Calls use(name, view) for each tensor of the state. */
  eachTensor(use) {
    const [name, view] = [new Memory(8), new Memory(SIZES.sequence)];
    for (let i = 0; i < c.sl_state_tensor_count(this.raw()); ++i) {
      this.do('sl_state_tensor', i, name.address, view.address);
      use(stringAt(name.getInt64(0)), view);
    }
  }

  tensors() {
    const found = {};
    this.eachTensor((name, view) => { found[name] = arrayOf(view); });
    return found;
  }

  setTensor(name, tensor) {
    let found = false;
    this.eachTensor((known, view) => {
      if (known !== name) return;
      if (['int32', 'int8', 'bool'].includes(DTYPES[view.getInt32(4)])) throw invalid(`the state tensor ${name} is an index`);
      writeTo(view, tensor);
      found = true;
    });
    if (!found) throw invalid(`no state tensor ${name}`);
  }

  fork() {
    this.raw();
    const out = new State(/** @type {any} */ ({ raw: () => this.model.raw, model: this.model }), this.options);
    out.copyFrom(this);
    return out;
  }

  save() { return this.saved('sl_state_save'); }

  load(bytes) { this.restore('sl_state_load', bytes); }
}

/** Steps a stream block after block of one size, with buffers of its own. */
class Stepper {
  constructor(state, steps, constants) {
    const { dtype = 'float32', shape = [] } = state.options.input ?? {};
    this.state = state;
    this.constants = Constants.of(constants);
    this.x = new Tensor(dtype, [state.options.batch || 1, steps, ...shape], false);
    const run = runOptions(this.constants);
    this.y = newOutput(state.model.raw, 1, this.x, run);
    this.emits = undefined;
    this.input = this.x.values;
    this.output = this.y.values;
    this.run = run;
    this.first = undefined; // made by the first stepSlots()
    this.addresses = [state.model.raw, this.x.raw.address, this.y.raw.address, addressOf(run), state.error.address];
  }

  /** Has the auxiliary outputs written, which it returns. */
  withEmits() {
    this.emits = this.state.newEmits(this.x, this.constants);
    this.run = runOptions(this.constants, this.emits);
    this.addresses[3] = addressOf(this.run);
    this.first = undefined;
    return this.emits;
  }

  step() {
    const [model, x, y, run, error] = this.addresses;
    const { profile } = this.state;
    const options = profile ? runOptions(this.constants, this.emits, 0, profile) : undefined;
    check(c.sl_layer_step(model, this.state.raw(), x, y, options ? options.address : run, error), this.state.error);
    return this.output;
  }

  stepSlots(slots) {
    const { state } = this;
    const count = state.slots.set(slots);
    this.first ??= new FirstItems(state.slots.batch, this.x, this.y, this.constants, this.emits);
    const { first } = this;
    first.set(count);
    const run = state.profile ? runOptions(first.constants, first.emits, 0, state.profile) : first.run;
    check(c.sl_layer_step_slots(this.addresses[0], state.raw(), state.slots.address, count, first.x.address, first.y.address,
      addressOf(run), this.addresses[4]), state.error);
    return this.output;
  }

  close() { this.state.close(); }
}

/** How a stream of tokens chooses. */
function choicesOf(options) {
  const raw = new Memory(SIZES.decoderOptions);
  raw.int32(4, options.startToken ?? 0);
  raw.int32(8, options.stopToken ?? 0);
  raw.int32(12, options.padToken ?? 0);
  raw.uint64(24, options.seed ?? 0);
  raw.float32(32, options.temperature ?? 0);
  raw.float32(36, options.topP ?? 0);
  raw.int64(40, options.topK ?? 0);
  raw.int32(80, options.stopToken === 0 ? 1 : 0);
  const guidance = Float32Array.from(options.guidance ?? []);
  raw.int64(88, guidance.length);
  raw.pointer(96, Memory.of(new Uint8Array(guidance.buffer)));
  return raw;
}

class Decoder extends Caller {
  constructor(layer, options = /** @type {any} */ ({})) {
    const raw = choicesOf(options);
    const given = Constants.of(options.constants);
    raw.int64(16, options.batch ?? 0);
    raw.pointer(48, given && given.raw);
    raw.int64(56, given ? given.count : 0);
    raw.int64(72, options.maxLength ?? 0);
    const [handle, free] = makeOf(layer, 'sl_decoder_create', raw, 'sl_decoder_free');
    super(handle, free);
    this.profile = undefined;
    const batch = options.batch || 1;
    this.slots = new Slots(batch);
    this.stepTokens = c.sl_decoder_step_tokens(this.raw());
    const size = batch * this.stepTokens;
    this.memory = [new Memory(4 * size), new Memory(4 * size), new Memory(batch)];
    this.choice = { tokens: new Int32Array(this.memory[0].buffer, 0, size),
      logProbs: new Float32Array(this.memory[1].buffer, 0, size), mask: new Uint8Array(this.memory[2].buffer, 0, batch) };
  }

  record(profile) { this.profile = profile; }

  runWith(constants) { return runOptions(Constants.of(constants), undefined, 0, this.profile); }

  prefill(tokens, constants) {
    const run = this.runWith(constants);
    this.do('sl_decoder_prefill', tokens.raw.address, addressOf(run));
  }

  sample(constants) {
    const run = this.runWith(constants);
    const [tokens, logProbs, mask] = this.memory;
    this.do('sl_decoder_sample', tokens.address, logProbs.address, mask.address, addressOf(run));
    return this.choice;
  }

  startSlot(slot, options) { this.do('sl_decoder_start_slot', slot, addressOf(options && choicesOf(options))); }

  prefillSlot(slot, tokens, constants) {
    const run = this.runWith(constants);
    this.do('sl_decoder_prefill_slot', slot, tokens.raw.address, addressOf(run));
  }

  sampleSlots(slots, constants) {
    const run = this.runWith(constants);
    const count = this.slots.set(slots);
    const [tokens, logProbs, mask] = this.memory;
    this.do('sl_decoder_sample_slots', this.slots.address, count, tokens.address, logProbs.address, mask.address, addressOf(run));
    const [all, size] = [this.choice, count * this.stepTokens];
    return { tokens: all.tokens.subarray(0, size), logProbs: all.logProbs.subarray(0, size), mask: all.mask.subarray(0, count) };
  }

  copySlotFrom(slot, source, sourceSlot) { this.do('sl_decoder_copy_slot', slot, source.raw(), sourceSlot); }

  saveSlot(slot) { return this.saved('sl_decoder_save_slot', slot); }

  loadSlot(slot, bytes) { this.restore('sl_decoder_load_slot', bytes, slot); }

  logProb(tokens, constants) {
    const [out, run] = [Tensor.sequence(tokens.dims), runOptions(Constants.of(constants))];
    this.do('sl_decoder_log_prob', tokens.raw.address, out.raw.address, addressOf(run));
    return out;
  }

  copyFrom(source) { this.do('sl_decoder_copy', source.raw()); }

  reset() { this.do('sl_decoder_reset'); }
}

module.exports = { Layer, State, Stepper, Decoder, Pipe, Tensor, Constants, Emits, Weights, Registry, Profile, setLog, SequenceLayersError };
