'use strict';
const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { Layer, Tensor } = require('..');

const folder = process.env.SEQUENCE_LAYERS_SUITE || path.join(__dirname, '../../../../build/suite');
const at = (name) => path.join(folder, name);
const manifest = JSON.parse(fs.readFileSync(at('suite.json'), 'utf8'));

function array({ file, dtype, shape }) {
  const out = Tensor.array(shape, undefined, dtype);
  const bytes = fs.readFileSync(at(file));
  assert.equal(bytes.length, out.values.byteLength, file);
  out.bytes().set(bytes);
  return out;
}

function sequence({ values, mask }) {
  const out = Tensor.sequence(values.shape, array(values).values, values.dtype);
  out.mask.set(array(mask).values);
  return out;
}

/** Copies the steps of source from begin on into all steps of target. */
function setSteps(target, source, begin) {
  const [batch, time] = target.dims;
  const row = source.values.length / (batch * source.dims[1]);
  for (let b = 0; b < batch; ++b) {
    const from = b * source.dims[1] + begin;
    target.values.set(source.values.subarray(from * row, (from + time) * row), b * time * row);
    target.mask.set(source.mask.subarray(from, from + time), b * time);
  }
  return target;
}

function steps(source, begin, end) {
  const [batch, , ...channels] = source.dims;
  return setSteps(Tensor.sequence([batch, end - begin, ...channels], undefined, source.dtype), source, begin);
}

function assertNear(found, expected, tolerance, what) {
  assert.equal(found.length, expected.length, what);
  found.forEach((value, i) => assert.ok(Math.abs(value - expected[i]) <= tolerance, `${what}: ${i}: ${value}, ${expected[i]}`));
}

function assertClose(found, expected, tolerance, what) {
  assert.deepEqual(found.mask, expected.mask, what);
  assert.deepEqual(found.dims, expected.dims, what);
  const row = expected.values.length / expected.mask.length;
  expected.mask.forEach((valid, step) => {
    const part = (tensor) => tensor.values.subarray(step * row, (step + 1) * row);
    if (valid) assertNear(part(found), part(expected), tolerance, what);
  });
}

function probabilities(stepper, samples, block) {
  const out = [];
  for (let begin = 0; begin + block <= samples.length; begin += block) {
    stepper.input.set(samples.subarray(begin, begin + block));
    out.push(stepper.step()[0]);
  }
  return out;
}

/** The probabilities of streams that begin at starts, block after block of all of them. */
function interleaved(part, starts) {
  const layer = Layer.open(at(part.model));
  const input = array(part.input).values;
  const streams = starts.map(() => layer.newState().stepper(part.block));
  const out = starts.map(() => []);
  for (let index = 0; index < part.blocks; ++index) {
    starts.forEach((start, i) => {
      const begin = start + index * part.block;
      out[i].push(...probabilities(streams[i], input.subarray(begin, begin + part.block), part.block));
    });
  }
  return out;
}

module.exports = { at, manifest, array, sequence, setSteps, steps, assertNear, assertClose, probabilities, interleaved };
