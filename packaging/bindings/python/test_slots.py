"""Streams in the slots of states."""

from collections.abc import Callable
from typing import Any

import numpy as np
from suite import MANIFEST, AnyArray, Json, SuiteTest, open_model, sequence, tensor

import sequence_layers_runtime as runtime
from sequence_layers_runtime import Array, Layer, SequenceLayersError, State


class SlotsTest(SuiteTest):
    """Streams of a state that are stepped, reset, copied and moved alone."""

    def use(self, case: Json) -> None:
        self.case, self.block = case, case['block']
        self.layer = open_model(case['model'])
        self.x, self.mask = sequence(case['input'])
        self.want, self.want_mask = sequence(case['expected'])

    def part(self, pair: tuple[AnyArray, AnyArray], items: list[Any]) -> tuple[AnyArray, AnyArray]:
        """The block of each of the (stream, block)s."""
        found = [[array[s, b * self.block :][: self.block] for s, b in items] for array in pair]
        return np.stack(found[0]), np.stack(found[1])

    def constants(self, items: list[Any]) -> Json:
        found: Json = {}
        streams = [stream for stream, _ in items]
        for constant in self.case['constants']:
            name = constant['name']
            if constant['kind'] == 'array':
                found[name] = Array(tensor(constant['values'])[streams])
            elif constant['streamed']:
                found[name] = self.part(sequence(constant), items)
            else:
                values, mask = sequence(constant)
                found[name] = values[streams], mask[streams]
        return found

    def new_state(self, batch: int) -> State:
        shape = tuple(self.case['channel_shape'])
        constants = self.constants([(0, 0)] * batch)
        return self.layer.new_state(batch, channel_shape=shape, constants=constants)

    def alone(self, stream: int) -> tuple[AnyArray, AnyArray]:
        """The outputs of the stream in a state of its own."""
        state, made = self.new_state(1), []
        for block in range(self.x.shape[1] // self.block):
            x, mask = self.part((self.x, self.mask), [(stream, block)])
            made.append(state.step(x, mask, constants=self.constants([(stream, block)])))
        y, y_mask = zip(*made, strict=True)
        return np.concatenate(y, axis=1)[0], np.concatenate(y_mask, axis=1)[0]

    def check_step(self, call: Json, y: AnyArray, mask: AnyArray) -> None:
        steps = y.shape[1]
        for item, stream, block in zip(range(len(y)), call['streams'], call['blocks'], strict=True):
            part = np.s_[block * steps : (block + 1) * steps]
            alone, alone_mask = self.own[stream][0][part], self.own[stream][1][part]
            np.testing.assert_array_equal(mask[item], alone_mask)
            np.testing.assert_array_equal(y[item][mask[item]], alone[mask[item]])
            valid = self.want_mask[stream][part]
            np.testing.assert_array_equal(mask[item], valid)
            want = self.want[stream][part]
            self.check(y[item][valid], want[valid], self.case['tolerance'])

    def run_script(self, step: Callable[[State, Json], tuple[AnyArray, AnyArray]]) -> None:
        states = [self.new_state(batch) for batch in self.case['batches']]
        self.own = [self.alone(stream) for stream in range(len(self.x))]
        for call in self.case['script']:
            state = states[call['state']]
            if call['call'] == 'reset':
                state.reset(call['slot'])
            elif call['call'] == 'step':
                self.check_step(call, *step(state, call))
            elif call['call'] == 'copy':
                state.copy_item_from(states[call['from_state']], call['from_slot'], call['slot'])
            else:
                saved = states[call['from_state']].save_item(call['from_slot'])
                state.load_item(call['slot'], saved)

    def test_slots(self) -> None:
        for case in MANIFEST['slots']:
            with self.subTest(case['name']):
                self.use(case)
                self.run_script(self.step)

    def step(self, state: State, call: Json) -> tuple[AnyArray, AnyArray]:
        items = list(zip(call['streams'], call['blocks'], strict=True))
        x, mask = self.part((self.x, self.mask), items)
        constants = self.constants(items)
        y, y_mask = state.step_slots(call['slots'], x, mask, constants=constants)
        return y, y_mask

    def test_a_stepper(self) -> None:
        self.use(MANIFEST['slots'][0])
        steppers: dict[State, runtime.Stepper] = {}

        def step(state: State, call: Json) -> tuple[AnyArray, AnyArray]:
            stepper = steppers.setdefault(state, state.stepper(self.block))
            items = list(zip(call['streams'], call['blocks'], strict=True))
            x, _ = self.part((self.x, self.mask), items)
            stepper.step_slots(x.ctypes.data, call['slots'])
            y = stepper.output[: len(x)]
            return y, np.ones(y.shape[:2], bool)

        self.run_script(step)
        state = self.new_state(2)
        with self.assertRaisesRegex(SequenceLayersError, 'slot'):
            state.stepper(self.block).step_slots(self.x.ctypes.data, [1, 1])
        with self.assertRaisesRegex(SequenceLayersError, 'slot'):
            state.step_slots([2], self.x[:1, : self.block])
        with self.assertRaises(SequenceLayersError):
            state.load_item(2, state.save_item(0))

    def test_constants_of_the_state(self) -> None:
        """Steps without constants read the state's own: of each slot its items."""
        layer = Layer.create(
            {
                'type': 'Conditioning',
                'conditioning_name': 'bias',
                'projection': 'identity',
                'combination': 'add',
            }
        )
        bias = Array(np.array([[10], [20], [30]], np.float32))
        state = layer.new_state(3, channel_shape=(1,), constants={'bias': bias})
        x = np.ones((2, 1, 1), np.float32)
        np.testing.assert_array_equal(state.step_slots([2, 0], x)[0][:, 0, 0], [31, 11])
        stepper = state.stepper(1)
        for slots in [2, 0], [1, 2]:
            stepper.step_slots(x.ctypes.data, slots)
            want = 1 + bias.values[slots, 0]
            np.testing.assert_array_equal(stepper.output[:2, 0, 0], want)
