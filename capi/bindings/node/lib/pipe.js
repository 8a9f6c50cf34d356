'use strict';
const { c, SIZES, Memory, check, call, indexOf, invalid } = require('./abi');
const { Caller } = require('./handle');

const CHANNELS = ['default', 'each', 'mix', 'model'];
const QUALITIES = ['default', 'fast', 'medium', 'best'];

/** Frames in memory of its own, channel after channel, and pointers to the channels. */
class Planes {
  constructor(channels, frames) {
    this.memory = new Memory(4 * channels * frames);
    this.pointers = new Memory(8 * channels);
    this.channels = Array.from({ length: channels }, (_, i) => {
      this.pointers.int64(8 * i, this.memory.address + 4 * i * frames);
      return new Float32Array(this.memory.buffer, 4 * i * frames, frames);
    });
  }
}

/** A front of a stream for audio, which takes any number of frames a call and gives as many. */
class Pipe extends Caller {
  constructor(layer, options = /** @type {any} */ ({})) {
    const [raw, out, owned] = [new Memory(SIZES.pipeOptions), new Memory(8), { model: layer.model, retired: undefined }];
    raw.int32(4, indexOf(CHANNELS, options.channels, 'channels'));
    raw.float64(8, options.hostRate ?? 0);
    raw.float64(16, options.modelRate ?? 0);
    raw.int64(24, options.hostChannels ?? 0);
    raw.int64(32, options.maxFrames ?? 0);
    raw.int64(40, options.minLatency ?? 0);
    raw.int64(48, options.fadeFrames ?? 0);
    raw.float32(56, options.dry ?? 0);
    raw.int32(60, indexOf(QUALITIES, options.quality, 'quality'));
    call('sl_pipe_create', layer.raw(), raw.address, out.address);
    layer.model.take();
    const handle = out.getInt64(0);
    super(handle, () => {
      c.sl_pipe_free(handle);
      owned.model.release();
      owned.retired?.();
    });
    this.owned = owned; // the model, which a swap exchanges, and what frees the one of before
    this.maxFrames = options.maxFrames || 4096;
    this.channels = c.sl_pipe_host_channels(handle);
    [this.in, this.out] = [new Planes(this.channels, this.maxFrames), new Planes(this.channels, this.maxFrames)];
  }

  get latency() { return c.sl_pipe_latency(this.raw()); }

  get isFading() { return c.sl_pipe_is_fading(this.raw()) !== 0; }

  process(input, output = input.map((channel) => new Float32Array(channel.length))) {
    const frames = input.length > 0 ? input[0].length : 0;
    for (const channels of [input, output]) {
      if (channels.length !== this.channels || channels.some((channel) => channel.length !== frames)) {
        throw invalid(`expected an array for each of ${this.channels} channels, all of one length`);
      }
    }
    for (let begin = 0; begin < frames; begin += this.maxFrames) {
      const size = Math.min(this.maxFrames, frames - begin);
      input.forEach((channel, i) => this.in.channels[i].set(channel.subarray(begin, begin + size)));
      this.do('sl_pipe_process', this.in.pointers.address, this.out.pointers.address, size);
      output.forEach((channel, i) => channel.set(this.out.channels[i].subarray(0, size), begin));
    }
    this.#dropRetired();
    return output;
  }

  flush() {
    const frames = this.latency;
    const rest = this.out.channels.map(() => new Float32Array(frames));
    for (let done = 0; done < frames;) {
      const size = Math.min(this.maxFrames, frames - done);
      const count = c.sl_pipe_flush(this.raw(), this.out.pointers.address, size, this.error.address);
      if (count < 0) check(this.error.getInt32(4), this.error);
      rest.forEach((channel, i) => channel.set(this.out.channels[i].subarray(0, count), done));
      done += count;
    }
    return rest;
  }

  reset() {
    this.do('sl_pipe_reset');
    this.#dropRetired();
  }

  setDry(dry) { this.do('sl_pipe_set_dry', dry); }

  swap(next) {
    this.#dropRetired();
    this.do('sl_pipe_swap', next.raw());
    [this.owned.model, next.owned.model] = [next.owned.model, this.owned.model];
    this.owned.retired = next.detached();
  }

  #dropRetired() {
    if (!this.owned.retired || this.isFading) return;
    this.owned.retired();
    this.owned.retired = undefined;
  }
}

module.exports = { Pipe };
