'use strict';
const { c, Memory, newError, check, call, invalid } = require('./abi');

const forgotten = new FinalizationRegistry((/** @type {() => void} */ free) => free());

/** A handle of C, freed by close(), or by the garbage collector. */
class Handle {
  #raw;

  #free;

  /** @param {number} raw @param {() => void} free must not hold this object */
  constructor(raw, free) {
    this.#raw = raw;
    this.#free = free;
    forgotten.register(this, free, this);
  }

  /** The address, unless it is closed. */
  raw() {
    if (this.#raw === 0) throw invalid(`the ${this.constructor.name} is closed`);
    return this.#raw;
  }

  close() {
    if (this.#raw !== 0) this.detached()();
  }

  /** Closes it without freeing it, which the function returned does. */
  detached() {
    this.raw();
    this.#raw = 0;
    forgotten.unregister(this);
    return this.#free;
  }
}

// Early releases of Node 18 have no such symbol.
if (Symbol.dispose) {
  Object.defineProperty(Handle.prototype, Symbol.dispose, { value() { this.close(); } });
}

/** A handle whose calls share an error. */
class Caller extends Handle {
  constructor(raw, free) {
    super(raw, free);
    this.error = newError();
  }

  /** Calls a function whose first argument is the handle, and whose last is the error. */
  do(name, ...args) { check(c[name](this.raw(), ...args, this.error.address), this.error); }

  /** The bytes that a function saves, of the whole or of one item. */
  saved(name, ...item) {
    const size = c[`${name}_size`](this.raw());
    const out = new Memory(size);
    this.do(name, ...item, out.address, size);
    return new Uint8Array(out.buffer, 0, size);
  }

  /** Gives a function what was saved, of all or of an item. */
  restore(name, bytes, ...item) {
    const memory = Memory.of(bytes);
    this.do(name, ...item, memory.address, bytes.length);
  }
}

class Weights extends Handle {
  constructor(name = 'sl_weights_create', ...args) {
    const out = new Memory(8);
    call(name, ...args, out.address);
    const raw = out.getInt64(0);
    super(raw, () => c.sl_weights_free(raw));
  }

  static open(path) { return new Weights('sl_weights_open', String(path)); }

  static read(bytes) {
    const memory = Memory.of(bytes);
    return new Weights('sl_weights_read', memory.address, bytes.length);
  }

  add(name, tensor) { call('sl_weights_add', this.raw(), name, tensor.raw.address); }
}

module.exports = { Handle, Caller, Weights };
