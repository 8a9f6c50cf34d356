'use strict';
const assert = require('node:assert/strict');
const { test } = require('node:test');
const { Layer } = require('..');

function pipe(config, options) {
  const layer = Layer.create(config);
  const out = layer.newPipe({ hostRate: 48000, ...options });
  layer.close(); // lives on in its pipe
  return out;
}

const scale = (by, options) => pipe({ type: 'Scale', scale: by }, options);
const ramp = (channels, frames) => Array.from({ length: channels }, (_, i) => Float32Array.from({ length: frames }, (__, j) => i * frames + j + 1));

test('a pipe is late by its latency at any sizes', () => {
  const late = pipe({ type: 'Lookahead', length: 37 }, { hostChannels: 2, maxFrames: 64 });
  assert.deepEqual([late.latency, late.channels], [37, 2]);
  const x = ramp(2, 1000);
  let begin = 0;
  for (const end of [0, 1, 64, 264, 1000]) {
    const y = late.process(x.map((channel) => channel.subarray(begin, end)));
    assert.deepEqual(y, x.map((channel) => channel.slice(begin, end).map((value, j) => (begin + j < 37 ? 0 : value))));
    begin = end;
  }
  assert.deepEqual(late.flush(), [new Float32Array(37), new Float32Array(37)]);
  assert.throws(() => late.process(x), { status: 'INVALID_ARGUMENT' });
  late.reset();
  assert.equal(late.process(x)[1][999], x[1][999]);
  late.close();
});

test('models are swapped, and the old one is freed after the cross-fade', () => {
  const [playing, next, another] = [scale(1), scale(3), scale(4)];
  playing.swap(next);
  assert.equal(playing.isFading, true);
  assert.throws(() => next.latency, /Pipe is closed/);
  assert.throws(() => playing.swap(another), { status: 'INVALID_ARGUMENT' });
  const x = ramp(1, 48000);
  assert.equal(playing.process(x, x)[0][47999], 3 * 48000);
  assert.equal(playing.isFading, false);
  playing.swap(another);
  playing.close();
  next.close();
});

test('a pipe mixes in the input and refuses what does not fit', () => {
  const dry = scale(0, { dry: 1, hostChannels: 2 });
  const x = ramp(2, 4800);
  assert.deepEqual(dry.process(x), x);
  dry.setDry(0);
  assert.equal(dry.process(x)[0][4799], 0);
  assert.throws(() => dry.setDry(2), { status: 'INVALID_ARGUMENT' });
  assert.throws(() => dry.process(ramp(1, 8)), /each of 2 channels/);
  assert.throws(() => scale(1, { quality: 'good' }), /quality "good" is none of default, fast, medium, best/);
  assert.throws(() => pipe({ type: 'Downsample1D', rate: 2 }), { status: 'UNSUPPORTED' });
});
