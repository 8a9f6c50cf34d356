import { Layer, SequenceLayersError, Tensor, type CustomLayer, Registry } from '../lib/index';

const model = Layer.open('model', { numThreads: 2 });
const stepper = model.newState({ batch: 1, input: { shape: [2] } }).stepper(4);
stepper.input.set([1, 2]);
const output: Float32Array = stepper.step();
const tokens: Tensor<Int32Array> = Tensor.sequence<Int32Array>([1, 2], [3, 4], 'int32');
const chosen: number = model.newDecoder({ seed: 7n }).sample().tokens[0]!;
const code: number = new SequenceLayersError(1, 'no').code;
class Double implements CustomLayer {
  layer(x: Tensor, y: Tensor): void { y.values.set(x.values); }
}
new Registry().add('Double', () => new Double());
const late: number = model.newPipe({ hostRate: 48000, quality: 'best' }).latency;
const moved: Uint8Array = model.newState({ batch: 4 }).saveItem(1);
model.newDecoder({ batch: 2 }).startSlot(1, { seed: 7n, temperature: 0.5 });
// @ts-expect-error a slot has no batch of its own
model.newDecoder({ batch: 2 }).startSlot(1, { batch: 2 });
// @ts-expect-error no such dtype
Tensor.sequence([1, 2], undefined, 'float64');
// @ts-expect-error a directory is a string
Layer.open(7);
export { output, tokens, chosen, late, moved, code };
