'use strict';
const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { test } = require('node:test');
const { Layer, Profile, Registry, Tensor, Weights, setLog } = require('..');
const { at, manifest } = require('./suite');

test('profiles record runs', () => {
  const layer = Layer.create({ type: 'Serial', layers: [{ type: 'Delay', length: 2, name: 'late' }] });
  const [profile, state, x] = [new Profile(), layer.newState(), Tensor.sequence([1, 1], [1])];
  layer.apply(x, { profile });
  state.step(x, { profile });
  const stepper = state.stepper(1);
  stepper.step(); // not recorded
  state.record(profile);
  stepper.step();
  stepper.stepSlots([0]);
  state.stepSlots([0], x);
  const costs = profile.describe();
  assert.deepEqual(costs.map(({ type, calls, parent }) => [type, calls, parent]), [['Serial', 5, undefined], ['Delay', 5, 0]]);
  profile.reset();
  assert.deepEqual(profile.describe(), []);
  const decoder = Layer.open(at(manifest.decoder.model)).newDecoder({ startToken: 1 });
  decoder.record(profile);
  decoder.sample();
  assert.equal(profile.describe()[0].calls, 1);
  profile.close();
  assert.throws(() => stepper.step(), /the Profile is closed/);
  state.record(undefined);
  stepper.step();
});

test('messages of the library', () => {
  const messages = [];
  setLog((level, message) => messages.push([level, message]), 'info');
  Layer.create({ type: 'Abs' });
  setLog();
  Layer.create({ type: 'Abs' });
  assert.equal(messages.length, 1);
  assert.equal(messages[0][0], 'info');
  assert.match(messages[0][1], /made a Abs with 0 parameters/);
  assert.throws(() => setLog(undefined, /** @type {any} */ ('loud')), /level "loud"/);
});

test('tensors of a state are read and set', () => {
  const layer = Layer.create({ type: 'Delay', length: 1 });
  assert.deepEqual([layer.receptiveField, layer.stepDifferences], [[-1, -1], []]);
  assert.deepEqual(Layer.open(at(manifest.vad.model)).receptiveField, [-Infinity, 511]);
  const stepper = layer.newState().stepper(1);
  stepper.input[0] = 7;
  stepper.step();
  const tensors = Object.entries(stepper.state.tensors());
  const [name, carry] = tensors.find(([, { dtype, values }]) => dtype === 'float32' && values[0] === 7) ?? [];
  carry.values[0] = 9;
  stepper.state.setTensor(name, carry);
  assert.equal(stepper.step()[0], 9);
  assert.throws(() => stepper.state.setTensor('none', carry), /no state tensor none/);
  assert.throws(() => stepper.state.setTensor(name, Tensor.array([5])), /expected float32/);
  const index = tensors.find(([, { dtype }]) => dtype === 'int32');
  if (index) assert.throws(() => stepper.state.setTensor(...index), /is an index/);
});

test('profiles name the layer that does the work of a folded one', () => {
  const weights = new Weights();
  weights.add('params.conv.kernel', Tensor.array([1, 1, 2], [1, -1]));
  weights.add('params.conv.bias', Tensor.array([2], [0, 0]));
  const layers = [{ type: 'Conv1D', name: 'conv', filters: 2, kernel_size: 1 }, { type: 'Relu' }];
  const profile = new Profile();
  const y = Layer.create({ type: 'Serial', layers }, weights).apply(Tensor.sequence([1, 1, 1], [3]), { profile });
  assert.deepEqual([...y.values], [3, 0]);
  const costs = profile.describe().map(({ type, foldedInto }) => [type, foldedInto]);
  assert.deepEqual(costs, [['Serial', undefined], ['Conv1D', undefined], ['Relu', 1]]);
});

test('packed weights are written', () => {
  const packed = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'slnode-')), 'packed.safetensors');
  const options = { weightFormat: 'bfloat16', numStepThreads: 1, matmulBackend: /** @type {const} */ ('own') };
  Layer.open(at(manifest.vad.model), options).saveWeights(packed);
  const config = fs.readFileSync(at(`${manifest.vad.model}/config.json`), 'utf8');
  assert.equal(Layer.create(config, Weights.open(packed)).blockSize, manifest.vad.block);
  fs.rmSync(path.dirname(packed), { recursive: true });
});

test('weights of a custom layer', () => {
  const registry = new Registry();
  registry.add('Scaled', (config, weights) => {
    const scale = weights.find('scale');
    return { layer(x, y) { x.values.forEach((value, i) => { y.values[i] = value * scale.values[0]; }); } };
  });
  const weights = new Weights();
  weights.add('params.own.scale', Tensor.array([1], [3]));
  const config = { type: 'Serial', layers: [{ type: 'Scaled', name: 'own' }] };
  const y = Layer.create(config, weights, { registry }).apply(Tensor.sequence([1, 2], [1, -2]));
  assert.deepEqual([...y.values], [3, -6]);
  assert.throws(() => Layer.create(config, undefined, { registry }), { status: 'WEIGHTS', message: /params.own.scale/ });
});
