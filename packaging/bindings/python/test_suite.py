"""Whole runs and streams, custom layers, errors, tools, dtypes and the overhead of a step."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from suite import MANIFEST, SUITE, AnyArray, Json, SuiteTest, open_model, sequence, tensor

import sequence_layers_runtime as runtime
from sequence_layers_runtime import Array, CustomLayer, Layer, Registry, SequenceLayersError, State

# How much longer than a `Stepper` a `State.step` may take.
MAX_STEP_SECONDS = 3e-6


class VadTest(SuiteTest):
    def setUp(self) -> None:
        self.case = MANIFEST['vad']
        self.layer = open_model(self.case['model'])
        self.x = tensor(self.case['input'])[np.newaxis]
        self.want = tensor(self.case['expected'])
        self.block = self.case['block']

    def steps(self, state: State, begin: int, end: int) -> AnyArray:
        blocks = (self.x[:, i * self.block :][:, : self.block] for i in range(begin, end))
        return np.array([state.step(block)[0].item() for block in blocks], np.float32)

    def test_the_golden_stream(self) -> None:
        with self.layer.new_state() as state:
            got = self.steps(state, 0, len(self.want))
        self.assertEqual(len(got), 713)
        self.check(got, self.want, self.case['tolerance'])
        whole, mask = self.layer.apply(self.x)
        self.assertTrue(mask.all())
        self.check(whole[0, :, 0], self.want, self.case['tolerance'])
        streamed, _ = self.layer.stream(self.x)
        np.testing.assert_array_equal(streamed[0, :, 0], got)

    def test_what_the_model_says_of_itself(self) -> None:
        self.assertEqual(self.layer.block_size, self.block)
        self.assertEqual(self.layer.input_spec, ((), 'float32'))
        for key, value in self.case['metadata'].items():
            self.assertEqual(self.layer.metadata(key), value)
        self.assertIsNone(self.layer.metadata('nothing'))
        described = self.layer.describe()
        self.assertEqual(described['type'], 'Serial')
        self.assertEqual(described['block_size'], self.block)
        self.assertEqual(described['children'][0]['type'], 'Frame')
        self.assertEqual(runtime.version()[0], 1)

    def test_save_load_fork_reset(self) -> None:
        at, end = self.case['save_at'], len(self.want)
        state = self.layer.new_state()
        begin = self.steps(state, 0, at)
        saved, fork, copy = state.save(), state.fork(), self.layer.new_state()
        copy.copy_from(state)
        rest = self.steps(state, at, end)
        self.check(np.concatenate([begin, rest]), self.want, self.case['tolerance'])
        loaded = self.layer.new_state()
        loaded.load(saved)
        for other in loaded, fork, copy:
            np.testing.assert_array_equal(self.steps(other, at, end), rest)
        state.reset()
        np.testing.assert_array_equal(self.steps(state, 0, at), begin)

    def test_items_of_a_batch(self) -> None:
        batch, alone = self.layer.new_state(2), self.layer.new_state()
        want = self.steps(alone, 0, 6)
        x = np.concatenate([self.x, self.x])[:, : 6 * self.block]
        blocks = [x[:, i : i + self.block] for i in range(0, x.shape[1], self.block)]
        got = [batch.step(block)[0][:, 0, 0] for block in blocks[:3]]
        batch.reset(0)
        got += [batch.step(block)[0][:, 0, 0] for block in blocks[:3]]
        np.testing.assert_array_equal(np.array(got)[:, 0], np.concatenate([want[:3], want[:3]]))
        batch.copy_item_from(alone, 0, 1)
        rest = self.steps(alone, 6, 8)
        both = np.concatenate([self.x, self.x])[:, 6 * self.block :]
        moved = [batch.step(both[:, i : i + self.block])[0][1, 0, 0] for i in (0, self.block)]
        np.testing.assert_array_equal(moved, rest)

    def test_arrays_of_any_layout_and_byte_order(self) -> None:
        x = self.x[:, 90 * self.block :][:, : 2 * self.block]
        want, _ = self.layer.new_state(max_steps=x.shape[1]).step(x)
        self.assertNotEqual(want[0, 0, 0], want[0, 1, 0])
        spread = np.zeros((1, 3 * x.shape[1]), np.float32)
        spread[:, ::3] = x
        for other in x.astype('>f4'), x.astype('<f4'), np.asfortranarray(x), spread[:, ::3]:
            state = self.layer.new_state(max_steps=x.shape[1])
            np.testing.assert_array_equal(state.step(other)[0], want)
            np.testing.assert_array_equal(self.layer.stream(other)[0], want)
        with self.assertRaisesRegex(TypeError, 'float64'):
            state.step(x.astype(np.float64))


class StreamsTest(SuiteTest):
    def setUp(self) -> None:
        self.case = MANIFEST['streams']
        self.layer = open_model(self.case['model'])
        self.x = tensor(self.case['input'])[np.newaxis]

    def blocks(self, start: int) -> Iterator[AnyArray]:
        for index in range(self.case['blocks']):
            begin = start + index * self.case['block']
            yield self.x[:, begin : begin + self.case['block']]

    def run_interleaved(self, starts: list[int], out: AnyArray) -> None:
        streams = [(self.layer.new_state(), self.blocks(start)) for start in starts]
        for index in range(self.case['blocks']):
            for row, (state, blocks) in zip(out, streams, strict=True):
                row[index] = state.step(next(blocks))[0].item()

    def test_streams_on_threads(self) -> None:
        starts, count = self.case['starts'], self.case['threads']
        self.assertEqual((len(starts), count), (100, 4))
        got = np.zeros((len(starts), self.case['blocks']), np.float32)
        threads = [
            threading.Thread(target=self.run_interleaved, args=(starts[i::count], got[i::count]))
            for i in range(count)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.check(got, tensor(self.case['expected']), self.case['tolerance'])
        for start, row in zip(starts, got, strict=True):
            state = self.layer.new_state()
            alone = [state.step(block)[0].item() for block in self.blocks(start)]
            np.testing.assert_array_equal(np.array(alone, np.float32), row)


class ConformerTest(SuiteTest):
    def setUp(self) -> None:
        self.case = MANIFEST['conformer']
        self.layer = open_model(self.case['model'])
        self.x, self.mask = sequence(self.case['input'])

    def constants(self, begin: int, end: int) -> Json:
        """The constants for a part of the input."""
        found: Json = {}
        for constant in self.case['constants']:
            if constant['kind'] == 'array':
                found[constant['name']] = Array(tensor(constant['values']))
                continue
            pair = sequence(constant)
            part = slice(begin, end) if constant['streamed'] else slice(None)
            found[constant['name']] = tuple(array[:, part] for array in pair)
        return found

    def test_what_it_reads(self) -> None:
        want = {(c['name'], c['streamed']) for c in self.case['constants']}
        self.assertEqual({(c.name, c.streamed) for c in self.layer.constants}, want)

    def test_whole(self) -> None:
        constants = self.constants(0, self.x.shape[1])
        y, mask, emits = self.layer.apply_with_emits(self.x, self.mask, constants=constants)
        self.check_sequence((y, mask), self.case['expected'], self.case['tolerance'])
        self.assertEqual(set(emits), {emit['path'] for emit in self.case['emits']})
        for emit in self.case['emits']:
            self.check_sequence(emits[emit['path']], emit, self.case['tolerance'])

    def test_steps(self) -> None:
        block = self.case['block']
        state = self.layer.new_state(len(self.x), constants=self.constants(0, block))
        made = []
        for begin in range(0, self.x.shape[1], block):
            part = slice(begin, begin + block)
            constants = self.constants(begin, begin + block)
            made.append(
                state.step_with_emits(self.x[:, part], self.mask[:, part], constants=constants)
            )
        y, mask, emits = zip(*made, strict=True)
        joined = np.concatenate(y, axis=1), np.concatenate(mask, axis=1)
        self.check_sequence(joined, self.case['expected'], self.case['tolerance'])
        for emit in self.case['emits']:
            if emit['stepwise']:
                parts = zip(*(found[emit['path']] for found in emits), strict=True)
                values, masks = (np.concatenate(part, axis=1) for part in parts)
                self.check_sequence((values, masks), emit, self.case['tolerance'])


class ErrorsTest(SuiteTest):
    def stream(self, layer: Layer, options: Json) -> State:
        given = dict(options)
        given['channel_shape'] = tuple(given['channel_shape'])
        return layer.new_state(given.pop('batch'), **given)

    def run_call(self, case: Json) -> None:
        layer = open_model(case['model'])
        self.assertNotEqual(case['call'], 'open')
        if case['call'] == 'apply':
            layer.apply(np.zeros(case['shape'], case['dtype']))
        elif case['call'] == 'decoder':
            layer.new_decoder(start_token=case['start_token'])
        elif case['call'] == 'state':
            self.stream(layer, case['options'])

    def prepare_step(self, case: Json) -> Callable[[], Any]:
        """What comes before the failing call on a state, which is returned."""
        state = self.stream(open_model(case['model']), case['options'])
        if case['call'] == 'load':
            return lambda: state.load((SUITE / case['file']).read_bytes())
        block = np.zeros(case['shape'], case['options']['dtype'])
        for _ in range(case.get('steps_before', 0)):
            state.step(block)
        return lambda: state.step(block)

    def test_errors(self) -> None:
        for case in MANIFEST['errors']:
            with self.subTest(case['name']):
                on_state = case['call'] in ('step', 'load')
                call = self.prepare_step(case) if on_state else lambda c=case: self.run_call(c)
                with self.assertRaises(SequenceLayersError) as raised:
                    call()
                self.assertEqual(raised.exception.code, case['code'])
                self.assertIn(case['message'], str(raised.exception))


class TestGain(CustomLayer):
    """y = gain x + s, where s is the sum of the valid x of this channel so far."""

    __test__ = False
    receptive_field = float('-inf'), 0

    def __init__(self, config: Json, weights: runtime.WeightSource):
        self.gain = config['gain']
        if self.gain < 0:
            raise ValueError(f'a gain of {self.gain:g} is negative')

    def initial_state(self, spec: runtime.ChannelSpec) -> Json:
        return {'sum': np.zeros(spec.shape, np.float32)}

    def step(self, state: dict[str, AnyArray], x: AnyArray, mask: AnyArray) -> AnyArray:
        valid = np.where(mask[..., np.newaxis], x, np.float32(0))
        sums: AnyArray = state['sum'][:, np.newaxis] + np.cumsum(valid, axis=1)
        state['sum'][...] = sums[:, -1]
        sums += np.float32(self.gain) * valid
        return sums


class CustomTest(SuiteTest):
    def setUp(self) -> None:
        self.case = MANIFEST['custom']
        self.registry = Registry()
        self.registry.add(self.case['type'], TestGain)
        self.x, self.mask = sequence(self.case['input'])

    def open(self) -> Layer:
        return open_model(self.case['model'], registry=self.registry)

    def new_state(self, layer: Layer, steps: int) -> State:
        shape = tuple(self.case['channel_shape'])
        return layer.new_state(len(self.x), channel_shape=shape, max_steps=steps)

    def steps(self, state: State, steps: int, begin: int = 0) -> tuple[AnyArray, AnyArray]:
        parts = [np.s_[:, t : t + steps] for t in range(begin, self.x.shape[1], steps)]
        y, mask = zip(*(state.step(self.x[p], self.mask[p]) for p in parts), strict=True)
        return np.concatenate(y, axis=1), np.concatenate(mask, axis=1)

    def test_whole_and_steps(self) -> None:
        layer = self.open()
        self.registry.close()  # layers live on
        self.check_sequence(layer.apply(self.x, self.mask), self.case['expected'], 0)
        for steps in self.case['steps']:
            got = self.steps(self.new_state(layer, steps), steps)
            self.check_sequence(got, self.case['expected'], 0)

    def test_save_and_load(self) -> None:
        layer = self.open()
        state, other = self.new_state(layer, 2), self.new_state(layer, 2)
        for begin in 0, 2, 4:
            state.step(self.x[:, begin : begin + 2], self.mask[:, begin : begin + 2])
        other.load(state.save())
        y, mask = self.steps(other, 2, begin=6)
        values, want_mask = sequence(self.case['expected'])
        np.testing.assert_array_equal(mask, want_mask[:, 6:])
        self.check(y[mask], values[:, 6:][mask], 0)

    def test_types(self) -> None:
        self.assertIn(self.case['type'], self.registry.types)
        self.assertIn('Conv1D', self.registry.types)
        with self.assertRaisesRegex(SequenceLayersError, 'TestGain'):
            self.registry.add(self.case['type'], TestGain)
        with self.assertRaisesRegex(SequenceLayersError, 'unknown layer type "TestGain"'):
            open_model(self.case['model'])

    def test_what_it_raises(self) -> None:
        case = self.case['error']
        with self.assertRaises(SequenceLayersError) as raised:
            open_model(case['model'], registry=self.registry)
        self.assertEqual(raised.exception.code, case['code'])
        self.assertIn(case['message'], str(raised.exception))
        self.assertIsInstance(raised.exception.__cause__, ValueError)

    def test_from_memory(self) -> None:
        class Scaled(CustomLayer):
            def __init__(self, config: Json, weights: runtime.WeightSource):
                self.scale = weights.find('scale')

            def output_spec(self, spec: runtime.ChannelSpec) -> runtime.ChannelSpec:
                return runtime.ChannelSpec((*spec.shape, 2), spec.dtype)

            def step(self, state: Json, x: AnyArray, mask: AnyArray) -> AnyArray:
                return x[..., np.newaxis] * self.scale

        self.registry.add('Scaled', Scaled)
        scale = np.array([2, -1], np.float32)
        config = {'type': 'Serial', 'layers': [{'type': 'Scaled', 'name': 'own'}]}
        layer = Layer.create(config, {'params.own.scale': scale}, registry=self.registry)
        y, _ = layer.apply(self.x)
        np.testing.assert_array_equal(y, self.x[..., np.newaxis] * scale)
        with self.assertRaisesRegex(SequenceLayersError, 'params.own.scale'):
            Layer.create(config, registry=self.registry)


class ToolsTest(SuiteTest):
    def test_profiles(self) -> None:
        layer = Layer.create({'type': 'Serial', 'layers': [{'type': 'Abs', 'name': 'magnitude'}]})
        x = np.ones((1, 2, 3), np.float32)
        with runtime.Profile() as profile, layer.new_state(channel_shape=(3,)) as state:
            layer.apply(x, profile=profile)
            state.step(x[:, :1], profile=profile)
            state.step_slots([0], x[:, :1], profile=profile)
            found = profile.describe()
            self.assertEqual([entry['type'] for entry in found], ['Serial', 'Abs'])
            self.assertEqual([entry['calls'] for entry in found], [3, 3])
            self.assertIsNone(found[0]['parent'])
            profile.reset()
            self.assertEqual(profile.describe(), [])

    def test_log(self) -> None:
        messages: list[tuple[str, str]] = []
        runtime.set_log(lambda level, message: messages.append((level, message)), 'info')
        try:
            Layer.create({'type': 'Abs'})
        finally:
            runtime.set_log(None)
        Layer.create({'type': 'Abs'})
        self.assertEqual([level for level, _ in messages], ['info'])
        self.assertIn('made a Abs with 0 parameters', messages[0][1])
        with self.assertRaisesRegex(ValueError, 'loud'):
            runtime.set_log(None, 'loud')

    def test_receptive_fields_and_limits(self) -> None:
        layer = Layer.create({'type': 'Delay', 'length': 100000}, max_bytes=1000)
        self.assertEqual(layer.receptive_field, (-100000, -100000))
        with self.assertRaisesRegex(SequenceLayersError, '1000'):
            layer.new_state(channel_shape=())
        vad = open_model(MANIFEST['vad']['model'])
        self.assertEqual(vad.receptive_field, (float('-inf'), 511))


class DtypesTest(SuiteTest):
    def test_every_dtype(self) -> None:
        layer = Layer.create({'type': 'Identity'})
        x = np.arange(-3, 9).reshape(1, 4, 3)
        for dtype in 'float32', 'float16', 'int32', 'int8', 'bool', 'complex64':
            little = np.dtype(dtype).newbyteorder('<')
            for given in x.astype(little), x.astype(little.newbyteorder('>')):
                state = layer.new_state(channel_shape=(3,), dtype=dtype, max_steps=4)
                for got, _ in layer.apply(given), state.step(given):
                    self.assertEqual(got.dtype, np.dtype(dtype))
                    np.testing.assert_array_equal(got, given)

    def test_bfloat16(self) -> None:
        layer = Layer.create({'type': 'Scale', 'scale': 0.5})
        x = np.array([[1, -3.140625, np.inf, 1 + 2**-8, 1 + 3 * 2**-8, 65536]], np.float32)
        given = runtime.to_bfloat16(x)
        rounded = np.array([[1, -3.140625, np.inf, 1, 1 + 2**-6, 65536]], np.float32)
        np.testing.assert_array_equal(runtime.from_bfloat16(given), rounded)
        self.assertTrue(np.isnan(runtime.from_bfloat16(runtime.to_bfloat16([np.nan]))[0]))
        state = layer.new_state(channel_shape=(), dtype='bfloat16', max_steps=6)
        for array in given, given.astype(given.dtype.newbyteorder('>')):
            for got, _ in layer.apply(array), state.step(array):
                self.assertEqual(got.dtype, given.dtype)
                np.testing.assert_array_equal(runtime.from_bfloat16(got), rounded / 2)


class OverheadTest(SuiteTest):
    def seconds(self, ways: dict[str, Callable[[], object]]) -> dict[str, float]:
        """The least mean time of a step of each way, in interleaved rounds."""
        case, found = MANIFEST['overhead'], dict.fromkeys(ways, float('inf'))
        # Many short rounds, some of which no other process interrupts.
        steps = case['steps'] // 100
        for _ in range(100 * case['rounds']):
            for name, step in ways.items():
                start = time.perf_counter()
                for _ in itertools.repeat(None, steps):
                    step()
                found[name] = min(found[name], (time.perf_counter() - start) / steps)
        return found

    def test_a_step_costs_little_more_than_a_stepper(self) -> None:
        case = MANIFEST['overhead']
        layer = open_model(case['model'])
        state = layer.new_state(channel_shape=tuple(case['channel_shape']))
        x, mask = np.ones((1, 1), np.float32), np.ones((1, 1), np.bool_)
        stepper, address = state.stepper(1), x.ctypes.data
        found = self.seconds(
            {
                'Stepper.step': lambda: stepper.step(address),
                'State.step': lambda: state.step(x),
                'State.step with a mask': lambda: state.step(x, mask),
            }
        )
        c = case['c_seconds_per_step']
        for name, seconds in found.items():
            print(
                f'{name}: {1e6 * (seconds - c):.2f} us a step more than the {1e6 * c:.2f} us in C'
            )
        self.assertEqual(state.step(x)[0].item(), 2)
        for name in 'State.step', 'State.step with a mask':
            self.assertLess(found[name] - found['Stepper.step'], MAX_STEP_SECONDS, name)
