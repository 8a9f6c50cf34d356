'use strict';
const { Memory, SIZES, cString, copied, write, invalid } = require('./abi');

const DTYPES = ['float32', 'int32', 'bool', 'complex64', 'bfloat16', 'float16', 'int8'];
const ARRAYS = [Float32Array, Int32Array, Uint8Array, Float32Array, Uint16Array, Uint16Array, Int8Array];
const ELEMENT_SIZES = [4, 4, 1, 8, 2, 2, 1];
const MAX_RANK = 10;

function dtypeCode(name) {
  const code = DTYPES.indexOf(name);
  if (code < 0) throw invalid(`no dtype "${name}"`);
  return code;
}

const product = (dims) => dims.reduce((size, dim) => size * dim, 1);

function checkDims(dims, maximum) {
  if (dims.length > maximum || !dims.every((dim) => Number.isSafeInteger(dim) && dim >= 0)) {
    throw invalid(`no tensor has dims [${dims}]`);
  }
}

function writeSpec(memory, offset, { dtype = 'float32', shape = [] } = {}) {
  checkDims(shape, 8);
  memory.int32(offset + 4, dtypeCode(dtype));
  memory.int32(offset + 8, shape.length);
  shape.forEach((dim, i) => memory.int64(offset + 16 + 8 * i, dim));
}

function readSpec(memory, offset = 0) {
  const shape = Array.from({ length: memory.getInt32(offset + 8) }, (_, i) => memory.getInt64(offset + 16 + 8 * i));
  return { dtype: DTYPES[memory.getInt32(offset + 4)], shape };
}

/** Values and a mask in memory that C reads and writes in place. */
class Tensor {
  constructor(dtype, dims, isArray) {
    checkDims(dims, MAX_RANK);
    if (!isArray && dims.length < 2) throw invalid('a sequence has a batch and a time');
    const code = dtypeCode(dtype);
    this.dtype = dtype;
    this.dims = Object.freeze([...dims]);
    this.isArray = isArray;
    this.data = new Memory(product(dims) * ELEMENT_SIZES[code]);
    const count = product(dims) * (dtype === 'complex64' ? 2 : 1);
    this.values = new ARRAYS[code](this.data.buffer, 0, count);
    this.raw = new Memory(SIZES.sequence);
    this.raw.int32(4, code);
    this.raw.int32(8, dims.length);
    this.raw.int32(12, isArray ? 1 : 0);
    dims.forEach((dim, i) => this.raw.int64(16 + 8 * i, dim));
    this.raw.pointer(176, this.data);
    this.mask = undefined;
    if (!isArray) {
      const mask = new Memory(dims[0] * dims[1]);
      this.mask = new Uint8Array(mask.buffer, 0, dims[0] * dims[1]).fill(1);
      this.raw.pointer(184, mask);
    }
  }

  static sequence(dims, values, dtype = 'float32') {
    const out = new Tensor(dtype, dims, false);
    if (values) out.set(values);
    return out;
  }

  static array(dims, values, dtype = 'float32') {
    const out = new Tensor(dtype, dims, true);
    if (values) out.set(values);
    return out;
  }

  set(values) {
    if (values.length !== this.values.length) throw invalid(`${values.length} values for dims [${this.dims}]`);
    this.values.set(values);
  }

  /** A tensor of the shape of a struct of C. */
  static like(raw) {
    const rank = raw.getInt32(8);
    const dims = Array.from({ length: rank }, (_, i) => raw.getInt64(16 + 8 * i));
    return new Tensor(DTYPES[raw.getInt32(4)], dims, raw.getInt32(12) !== 0);
  }

  /** A copy of a contiguous view that is C's, with the addresses of its values and mask. */
  static borrowed(address) {
    const raw = copied(address, SIZES.sequence);
    const tensor = Tensor.like(raw);
    const [values, mask] = [raw.getInt64(176), raw.getInt64(184)];
    tensor.bytes().set(copied(values, tensor.bytes().length).bytes().subarray(0, tensor.bytes().length));
    if (tensor.mask) tensor.mask.set(copied(mask, tensor.mask.length).bytes().subarray(0, tensor.mask.length));
    return { tensor, values, mask };
  }

  bytes() { return new Uint8Array(this.data.buffer, 0, this.values.byteLength); }
}

/** Size and strides, in bytes, of the values of a view that is C's. */
function layoutOf(raw) {
  const rank = raw.getInt32(8);
  const size = ELEMENT_SIZES[raw.getInt32(4)];
  const dims = Array.from({ length: rank }, (_, i) => raw.getInt64(16 + 8 * i));
  const strides = dims.map((_, i) => raw.getInt64(96 + 8 * i));
  const contiguous = dims.map((_, i) => size * product(dims.slice(i + 1)));
  return { size, dims, strides: strides.every((stride) => stride === 0) ? contiguous : strides };
}

/** Calls use(offset of the view, offset in contiguous values) for each element. */
function eachElement({ size, dims, strides }, use) {
  for (let i = 0; i < product(dims); ++i) {
    let [rest, offset] = [i, 0];
    for (let axis = dims.length - 1; axis >= 0; --axis) {
      offset += (rest % dims[axis]) * strides[axis];
      rest = Math.floor(rest / dims[axis]);
    }
    use(offset, i * size);
  }
}

/** An array with the values of a view that is C's. */
function arrayOf(raw) {
  const layout = layoutOf(raw);
  const out = new Tensor(DTYPES[raw.getInt32(4)], layout.dims, true);
  const extent = product(layout.dims) === 0 ? 0
    : layout.dims.reduce((sum, dim, i) => sum + (dim - 1) * layout.strides[i], layout.size);
  const bytes = copied(raw.getInt64(176), extent).bytes();
  eachElement(layout, (from, to) => out.bytes().set(bytes.subarray(from, from + layout.size), to));
  return out;
}

/** Writes a tensor to a view that is C's, of the same dtype and dims. */
function writeTo(raw, tensor) {
  const layout = layoutOf(raw);
  if (tensor.dtype !== DTYPES[raw.getInt32(4)] || String(tensor.dims) !== String(layout.dims)) {
    throw invalid(`expected ${DTYPES[raw.getInt32(4)]} [${layout.dims}], not ${tensor.dtype} [${tensor.dims}]`);
  }
  const data = raw.getInt64(176);
  eachElement(layout, (to, from) => write(data + to, tensor.bytes().subarray(from, from + layout.size)));
}

/** Writes a borrowed tensor back to where it came from. */
function writeBack({ tensor, values, mask }) {
  write(values, tensor.bytes());
  if (tensor.mask) write(mask, tensor.mask);
}

/** Constants as C reads them: their values in place. */
class Constants {
  constructor(tensors) {
    this.tensors = { ...tensors };
    const entries = Object.entries(this.tensors);
    this.count = entries.length;
    this.raw = new Memory(this.count * SIZES.constant);
    entries.forEach(([name, tensor], i) => {
      this.raw.pointer(i * SIZES.constant, cString(name));
      this.raw.bytes().set(tensor.raw.bytes(), i * SIZES.constant + 8);
      this.raw.kept.push(tensor);
    });
  }

  static of(value) { return value === undefined || value instanceof Constants ? value : new Constants(value); }
}

/** Auxiliary outputs, by path, in order of their index. */
class Emits {
  constructor(tensors) {
    this.tensors = tensors;
    this.count = tensors.size;
    this.raw = new Memory(this.count * SIZES.sequence);
    [...tensors.values()].forEach((tensor, i) => this.raw.bytes().set(tensor.raw.bytes(), i * SIZES.sequence));
  }

  get(path) { return this.tensors.get(path); }
}

/** Numbers of slots as C reads them. */
class Slots {
  constructor(batch) {
    this.batch = batch;
    this.memory = new Memory(8 * batch);
    this.address = this.memory.address;
  }

  /** Takes the slots of a call, and gives their number. */
  set(slots) {
    if (slots.length > this.batch) throw invalid('there are fewer slots');
    for (let i = 0; i < slots.length; ++i) {
      this.memory.int32(8 * i, slots[i]);
      this.memory.int32(8 * i + 4, slots[i] < 0 ? -1 : 0);
    }
    return slots.length;
  }
}

/** Copies of the views of a whole batch, for calls on its first items. */
class FirstItems {
  constructor(batch, x, y, constants, emits) {
    const copy = (raw) => {
      const out = Memory.of(raw.bytes());
      out.kept.push(raw);
      return out;
    };
    this.sizes = []; // where the batch is, in each view
    const add = (raw, size, offset, count) => {
      for (let i = 0; i < count; ++i) {
        const at = size * i + offset + 16;
        if (raw.getInt32(at - 8) > 0 && raw.getInt64(at) === batch) this.sizes.push([raw, at]);
      }
      return raw;
    };
    this.x = add(copy(x.raw), SIZES.sequence, 0, 1);
    this.y = add(copy(y.raw), SIZES.sequence, 0, 1);
    const given = constants && { raw: add(copy(constants.raw), SIZES.constant, 8, constants.count), count: constants.count };
    const wanted = emits && { raw: add(copy(emits.raw), SIZES.sequence, 0, emits.count), count: emits.count };
    [this.constants, this.emits] = [given, wanted];
    this.run = runOptions(given, wanted);
  }

  set(count) {
    for (const [raw, at] of this.sizes) raw.int32(at, count);
  }
}

/** The options of a run; undefined if there is nothing to say. */
function runOptions(constants, emits, state = 0, profile = undefined) {
  if (!constants && !emits && !state && !profile) return undefined;
  const run = new Memory(SIZES.runOptions);
  if (constants) {
    run.pointer(8, constants.raw);
    run.int64(16, constants.count);
  }
  if (emits) {
    run.pointer(24, emits.raw);
    run.int64(32, emits.count);
  }
  run.int64(40, state);
  run.int64(48, profile ? profile.raw() : 0);
  run.kept.push(constants, emits, profile);
  return run;
}

module.exports = { Tensor, Constants, Emits, Slots, FirstItems, runOptions, arrayOf, writeTo, writeSpec, readSpec, writeBack, ELEMENT_SIZES, DTYPES };
