'use strict';
// The functions of C, with numbers for pointers, and structs as ArrayBuffers, which the garbage collector owns and
// does not move. Offsets are those of the header on 64-bit systems.
const koffi = require('koffi');

const library = koffi.load(process.env.SEQUENCE_LAYERS_LIBRARY || 'libsequence_layers.so.1');
const memmove = koffi.load(null).func('int64_t memmove(void*, void*, size_t)');
const copyIn = koffi.load(null).func('memmove', 'int64_t', ['void*', 'int64_t', 'size_t']);
const copyOut = koffi.load(null).func('memmove', 'int64_t', ['int64_t', 'void*', 'size_t']);

/** What each function takes: s for a string, n for a number, f for a float; what it returns: i an int, n a number, s a string, v nothing. */
const functions = Object.entries({
  sl_version: 'i', sl_status_name: 'sn', sl_layer_open: 'isnnn', sl_layer_create: 'isnnnnn', sl_layer_free: 'vn',
  sl_layer_input_spec: 'innn', sl_layer_metadata: 'sns', sl_layer_output_shape: 'innnnnn', sl_layer_apply: 'innnnn',
  sl_state_alloc: 'innnn', sl_state_free: 'vn', sl_layer_step: 'innnnnn', sl_layer_step_slots: 'innnnnnnn', sl_state_reset: 'inn',
  sl_state_reset_item: 'innn', sl_state_copy: 'innn', sl_state_copy_item: 'innnnn', sl_state_save_size: 'nn',
  sl_state_save: 'innnn', sl_state_load: 'innnn', sl_state_save_item_size: 'nn',
  sl_state_save_item: 'innnnn', sl_state_load_item: 'innnnn', sl_state_tensor_count: 'nn', sl_state_tensor: 'innnnn',
  sl_layer_block_size: 'innn', sl_layer_output_ratio: 'innnn',
  sl_layer_input_latency: 'innn', sl_layer_output_latency: 'innn', sl_layer_supports_step: 'innn',
  sl_layer_describe: 'innnnnnnn', sl_layer_constant_count: 'nn', sl_layer_constant: 'innnn',
  sl_layer_receptive_field: 'innnnn',
  sl_layer_step_difference_count: 'nn', sl_layer_step_difference: 'innnn', sl_layer_save_weights: 'insn', sl_layer_emit_count: 'nnnnnn', sl_layer_emit_shape: 'innnnnnnnn', sl_layer_output_spec: 'innnnnn',
  sl_decoder_create: 'innnn', sl_decoder_free: 'vn', sl_decoder_prefill: 'innnn', sl_decoder_sample: 'innnnnn',
  sl_decoder_start_slot: 'innnn', sl_decoder_prefill_slot: 'innnnn', sl_decoder_sample_slots: 'innnnnnnn',
  sl_decoder_copy_slot: 'innnnn', sl_decoder_step_tokens: 'nn', sl_decoder_save_slot_size: 'nn', sl_decoder_save_slot: 'innnnn', sl_decoder_load_slot: 'innnnn',
  sl_decoder_log_prob: 'innnnn', sl_decoder_copy: 'innn', sl_decoder_reset: 'inn', sl_weights_create: 'inn',
  sl_weights_open: 'isnn', sl_weights_read: 'innnn', sl_weights_add: 'insnn', sl_weights_free: 'vn',
  sl_pipe_create: 'innnn', sl_pipe_free: 'vn', sl_pipe_process: 'innnnn', sl_pipe_flush: 'nnnnn', sl_pipe_reset: 'inn',
  sl_pipe_latency: 'nn', sl_pipe_host_channels: 'nn', sl_pipe_set_dry: 'infn', sl_pipe_swap: 'innn', sl_pipe_is_fading: 'in',
  sl_registry_create: 'inn', sl_registry_add: 'insnn', sl_registry_free: 'vn', sl_weight_source_find: 'inssnn',
  sl_profile_create: 'inn', sl_profile_reset: 'inn', sl_profile_describe: 'innnnn', sl_profile_free: 'vn', sl_log_set: 'vnni',
});
const types = { i: 'int32_t', n: 'int64_t', f: 'float', s: 'str', v: 'void' };

/** @type {Record<string, Function>} */
const c = {};
for (const [name, letters] of functions) {
  const [result, ...parameters] = [...letters].map((letter) => types[letter]);
  c[name] = library.func(name, result, parameters);
}

const SIZES = {
  error: 1024, channelSpec: 80, sequence: 208, constant: 216, layerOptions: 80, runOptions: 56, stateOptions: 136,
  decoderOptions: 120, pipeOptions: 72, properties: 72, callbacks: 88, constantInfo: 104, stepDifference: 40,
};
const NAMES = [undefined, 'INVALID_ARGUMENT', 'CONFIG', 'WEIGHTS', 'SHAPE', 'UNSUPPORTED', 'IO', 'OUT_OF_MEMORY', 'STATE',
  'CALLBACK', 'INTERNAL', 'LENGTH'];

/** A call that failed: the number and the name of its status, and the library's message. */
class SequenceLayersError extends Error {
  constructor(code, message) {
    super(message);
    this.name = 'SequenceLayersError';
    this.code = code;
    this.status = NAMES[code] || `STATUS_${code}`;
  }
}

const invalid = (message) => new SequenceLayersError(1, message);

/** The number of an enum of C, whose names are in order. */
function indexOf(names, name, what) {
  const index = names.indexOf(name ?? 'default');
  if (index < 0) throw invalid(`${what} "${name}" is none of ${names.join(', ')}`);
  return index;
}

/** Memory for C, zeroed at first. */
class Memory {
  constructor(size) {
    this.buffer = new ArrayBuffer(Math.max(size, 8));
    this.address = memmove(this.buffer, this.buffer, 0);
    this.view = new DataView(this.buffer);
    this.kept = []; // what its pointers point to
  }

  /** A copy of bytes. @param {Uint8Array} bytes */
  static of(bytes) {
    const out = new Memory(bytes.length);
    out.bytes().set(bytes);
    return out;
  }

  int32(offset, value) { this.view.setInt32(offset, value, true); }

  int64(offset, value) { this.view.setBigInt64(offset, BigInt(value), true); }

  uint64(offset, value) { this.view.setBigUint64(offset, BigInt.asUintN(64, BigInt(value)), true); }

  float32(offset, value) { this.view.setFloat32(offset, value, true); }

  float64(offset, value) { this.view.setFloat64(offset, value, true); }

  pointer(offset, memory) {
    this.kept.push(memory);
    this.int64(offset, memory ? memory.address : 0);
  }

  getInt32(offset) { return this.view.getInt32(offset, true); }

  getInt64(offset) { return Number(this.view.getBigInt64(offset, true)); }

  bytes() { return new Uint8Array(this.buffer); }

  text(offset = 0) {
    const bytes = this.bytes().subarray(offset);
    const end = bytes.indexOf(0);
    return Buffer.from(bytes.subarray(0, end < 0 ? bytes.length : end)).toString();
  }
}

function newError() {
  const out = new Memory(SIZES.error);
  out.int32(0, SIZES.error);
  return out;
}

const failure = (code, error) => new SequenceLayersError(code, error.text(8));

function check(code, error) {
  if (code !== 0) throw failure(code, error);
}

/** Calls a function whose last argument is the error. */
function call(name, ...args) {
  const error = newError();
  check(c[name](...args, error.address), error);
}

/** The JSON of a function that takes room for it, the size of the room, and where to put the size that it needs. */
function json(name, ...args) {
  const needed = new Memory(8);
  call(name, ...args, 0, 0, needed.address);
  const text = new Memory(needed.getInt64(0));
  call(name, ...args, text.address, needed.getInt64(0), needed.address);
  return JSON.parse(text.text());
}

const cString = (text) => Memory.of(Buffer.from(`${text}\0`));

/** A copy of memory that is C's. */
function copied(address, size) {
  const out = new Memory(size);
  if (size > 0) copyIn(out.buffer, address, size);
  return out;
}

/** @param {number} address @param {Uint8Array} bytes */
function write(address, bytes) {
  if (bytes.length > 0) copyOut(address, bytes, bytes.length);
}

module.exports = { koffi, c, SIZES, SequenceLayersError, Memory, newError, check, failure, call, json, cString, copied, write, indexOf, invalid };
