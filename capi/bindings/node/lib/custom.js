'use strict';
const { koffi, c, SIZES, SequenceLayersError, Memory, call, copied, write, invalid } = require('./abi');
const { Tensor, readSpec, writeSpec, writeBack, arrayOf } = require('./tensor');
const { Handle } = require('./handle');
const { stringAt } = require('./text');

const callbackType = (count) => koffi.pointer(koffi.proto(`int32_t slnode${count}(${Array(count).fill('int64_t').join(', ')})`));
const TYPES = new Map([1, 3, 4, 5].map((count) => [count, callbackType(count)]));

const instances = new Map();
let lastInstance = 0;

/** Runs what a callback does, and reports what it throws. */
function guarded(error, run) {
  try {
    run();
    return 0;
  } catch (thrown) {
    const code = thrown instanceof SequenceLayersError ? thrown.code : 9;
    const size = copied(error, 8).view.getUint32(0, true);
    const message = Buffer.from(String((/** @type {any} */ (thrown))?.message ?? thrown)).subarray(0, size - 9);
    const head = new Memory(8);
    head.int32(0, size);
    head.int32(4, code);
    write(error, head.bytes());
    write(error + 8, Buffer.concat([message, Buffer.of(0)]));
    return code;
  }
}

function writeInt64(address, value) {
  const memory = new Memory(8);
  memory.int64(0, value);
  write(address, memory.bytes());
}

const specAt = (address) => readSpec(copied(address, SIZES.channelSpec));

/** The library asks more than once, and the answer must not change. */
function remembered(instance, input, question, ask) {
  const key = `${question} ${JSON.stringify(input)}`;
  if (!instance.answers.has(key)) instance.answers.set(key, ask());
  return instance.answers.get(key);
}

const stateSize = (instance, input) => remembered(instance, input, 'size', () => Number(instance.layer.stateSize?.(input) ?? 0));

const INFINITE = 2n ** 63n - 1n;
const bound = (value) => (Number.isFinite(value) ? BigInt(value) : value < 0 ? -INFINITE : INFINITE);

function writeProperties(address, p) {
  const out = copied(address, SIZES.properties);
  const [numerator, denominator] = p.outputRatio ?? [1, 1];
  const [start, end] = p.receptiveField ?? [0, 0];
  out.int32(4, p.layerWiseOnly ? 1 : 0);
  [p.blockSize ?? 1, numerator, denominator, p.inputLatency ?? 0, p.outputLatency === 0 ? -1 : p.outputLatency ?? 0,
    bound(start), bound(end)].forEach((value, i) => out.int64(8 + 8 * i, value));
  out.int32(64, p.readsInvalidSteps ? 1 : 0);
  out.int32(68, p.countsInvalidSteps ? 1 : 0);
  write(address, out.bytes());
}

function step(instance, state, xAddress, yAddress) {
  const [x, y] = [Tensor.borrowed(xAddress), Tensor.borrowed(yAddress)];
  const size = stateSize(instance, { dtype: x.tensor.dtype, shape: x.tensor.dims.slice(2) }) * x.tensor.dims[0];
  if (!instance.layer.step) instance.layer.layer(x.tensor, y.tensor);
  else {
    const bytes = copied(state, size);
    instance.layer.step(bytes.buffer, x.tensor, y.tensor);
    write(state, bytes.bytes().subarray(0, size));
  }
  writeBack(y);
}

/** The tensors of a custom layer, while it is made. */
class WeightSource {
  constructor(address) { this.address = address; }

  /** A copy of the tensor of that name, such as 'kernel', under the layer's own path. */
  find(name, collection = 'params') {
    if (!this.address) throw invalid('weights are given while a layer is made only');
    const view = new Memory(SIZES.sequence);
    call('sl_weight_source_find', this.address, collection, name, view.address);
    return arrayOf(view);
  }
}

/** The callbacks of one layer type, in the order of the struct from offset 16 on. */
function callbacksOf(factory) {
  return [
    (_, config, weights, out, error) => guarded(error, () => {
      const source = new WeightSource(weights);
      const layer = factory(JSON.parse(stringAt(config)), source);
      source.address = 0;
      lastInstance += 1;
      instances.set(lastInstance, { layer, answers: new Map() });
      writeInt64(out, lastInstance);
    }),
    (instance) => { instances.delete(Number(instance)); return 0; },
    (instance, out, error) => guarded(error, () => writeProperties(out, instances.get(instance).layer.properties?.() ?? {})),
    (instance, input, out, error) => guarded(error, () => {
      const [known, spec, raw] = [instances.get(instance), specAt(input), copied(out, SIZES.channelSpec)];
      writeSpec(raw, 0, remembered(known, spec, 'spec', () => known.layer.outputSpec?.(spec) ?? spec));
      write(out, raw.bytes());
    }),
    (instance, input, out, error) => guarded(error, () => writeInt64(out, stateSize(instances.get(instance), specAt(input)))),
    undefined,
    (instance, x, y, error) => guarded(error, () => {
      const out = Tensor.borrowed(y);
      instances.get(instance).layer.layer(Tensor.borrowed(x).tensor, out.tensor);
      writeBack(out);
    }),
    (instance, state, x, y, error) => guarded(error, () => step(instances.get(instance), state, x, y)),
  ];
}

/** Layer types: the built-in ones and the program's own, whose callbacks live as long as the process. */
class Registry extends Handle {
  constructor() {
    const out = new Memory(8);
    call('sl_registry_create', out.address);
    const raw = out.getInt64(0);
    super(raw, () => c.sl_registry_free(raw));
  }

  add(type, factory) {
    const table = new Memory(SIZES.callbacks);
    callbacksOf(factory).forEach((callback, i) => {
      if (callback) table.int64(16 + 8 * i, koffi.address(koffi.register(callback, TYPES.get(callback.length))));
    });
    call('sl_registry_add', this.raw(), type, table.address);
  }
}

module.exports = { Registry };
