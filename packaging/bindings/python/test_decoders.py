"""Decoders: of one token a step and of several, and their slots."""

from typing import Any

import numpy as np
from suite import MANIFEST, AnyArray, Json, SuiteTest, open_model, sequence, tensor

import sequence_layers_runtime as runtime
from sequence_layers_runtime import SequenceLayersError


class DecoderTest(SuiteTest):
    def setUp(self) -> None:
        self.case = MANIFEST['decoder']
        self.layer = open_model(self.case['model'])
        self.prompt = tensor(self.case['prompt'])[np.newaxis]
        self.greedy = tensor(self.case['greedy']['tokens'])

    def prompted(self, **options: Any) -> runtime.Decoder:
        decoder = self.layer.new_decoder(start_token=self.case['start_token'], **options)
        decoder.prefill(self.prompt)
        return decoder

    def test_greedy(self) -> None:
        with self.prompted() as decoder:
            made = [decoder.sample() for _ in self.greedy]
        np.testing.assert_array_equal([token[0] for token, _, _ in made], self.greedy)
        log_probs = np.array([log_prob[0] for _, log_prob, _ in made])
        want = tensor(self.case['greedy']['log_probs'])
        self.check(log_probs, want, self.case['greedy']['tolerance'])
        self.assertTrue(all(mask[0] for _, _, mask in made))

    def test_stopped(self) -> None:
        case = self.case['stop']
        decoder = self.prompted(stop_token=case['stop_token'], pad_token=case['pad_token'])
        made = [decoder.sample() for _ in range(case['count'] + 2)]
        tokens = [token[0] for token, _, _ in made]
        want = [*self.greedy[: case['count']], case['pad_token'], case['pad_token']]
        np.testing.assert_array_equal(tokens, want)
        valid = [bool(mask[0]) for _, _, mask in made]
        self.assertEqual(valid, [True] * case['count'] + [False] * 2)

    def test_sampled(self) -> None:
        options = dict(self.case['sampled'])
        want = options.pop('tokens')
        decoder = self.prompted(**options)
        fork = self.layer.new_decoder(start_token=self.case['start_token'], **options)
        fork.copy_from(decoder)
        for each in decoder, fork:
            self.assertEqual([each.sample()[0].item() for _ in want], want)

    def test_slots(self) -> None:
        case = self.case['slots']
        decoders = [self.layer.new_decoder(batch) for batch in case['batches']]
        alone = [self.alone(stream) for stream in case['streams']]
        for stream, (tokens, _, mask) in zip(case['streams'], alone, strict=True):
            np.testing.assert_array_equal(tokens, stream['tokens'])
            self.assertEqual(list(mask), [i < stream['count'] for i in range(len(mask))])
        for call in case['script']:
            decoder, slot = decoders[call['state']], call.get('slot')
            if call['call'] == 'start':
                stream = case['streams'][call['stream']]
                decoder.start_slot(slot, **stream['options'])
                decoder.prefill_slot(slot, np.array([stream['prompt']], np.int32))
            elif call['call'] == 'sample':
                for made, of in zip(decoder.sample_slots(call['slots']), range(3), strict=True):
                    want = [
                        alone[stream][of][step]
                        for stream, step in zip(call['streams'], call['blocks'], strict=True)
                    ]
                    np.testing.assert_array_equal(made, want)
            elif call['call'] == 'copy':
                decoder.copy_slot_from(decoders[call['from_state']], call['from_slot'], slot)
            else:
                decoder.load_slot(slot, decoders[call['from_state']].save_slot(call['from_slot']))
        self.assertNotIn('start', [call['call'] for call in case['script'][-10:]])
        decoders[0].start_slot(0)
        with self.assertRaisesRegex(SequenceLayersError, 'slot'):
            decoders[0].sample_slots([3])
        with self.assertRaisesRegex(TypeError, 'tempreature'):
            self.layer.new_decoder(tempreature=1)

    def alone(self, stream: Json) -> tuple[AnyArray, ...]:
        """Tokens, log probabilities and mask of a decoder of its own."""
        decoder = self.layer.new_decoder(**stream['options'])
        decoder.prefill(np.array([stream['prompt']], np.int32))
        made = [decoder.sample() for _ in stream['tokens']]
        return tuple(np.concatenate(arrays) for arrays in zip(*made, strict=True))


class FramesTest(SuiteTest):
    def setUp(self) -> None:
        self.case = MANIFEST['frames']
        self.layer = open_model(self.case['model'])
        [constant] = self.case['constants']
        self.source = sequence(constant)
        self.tokens = tensor(self.case['tokens'])

    def constants(self, begin: int, end: int, *items: int) -> Json:
        return {'source': tuple(array[list(items), begin:end] for array in self.source)}

    def test_streams_and_slots(self) -> None:
        batch, time, parts = self.tokens.shape
        decoder = self.layer.new_decoder(batch, constants=self.constants(0, 1, 0, 1))
        log_probs = np.empty(self.tokens.shape, np.float32)
        for t in range(time):
            made, log_probs[:, t], mask = decoder.sample(constants=self.constants(t, t + 1, 0, 1))
            np.testing.assert_array_equal(made, self.tokens[:, t])
            self.assertTrue(mask.all())
        whole, _ = decoder.log_prob(self.tokens, constants=self.constants(0, time, 0, 1))
        for found in log_probs, whole:
            self.check(found, tensor(self.case['log_probs']), self.case['tolerance'])

        decoder.reset()
        decoder.prefill(self.tokens[:, :3], constants=self.constants(0, 3, 0, 1))
        decoder.start_slot(1)
        decoder.prefill_slot(1, self.tokens[1:, :3], constants=self.constants(0, 3, 1))
        for t in range(3, time):
            constants = self.constants(t, t + 1, 1, 0)
            made, _, _ = decoder.sample_slots([1, 0], constants=constants)
            np.testing.assert_array_equal(made, self.tokens[::-1, t])
        with self.assertRaisesRegex(SequenceLayersError, rf'time, {parts}\]'):
            decoder.prefill(self.tokens[:, :, 0], constants=self.constants(0, time, 0, 1))

    def test_guided(self) -> None:
        case = self.case['guided']
        guidance = case['guidance']
        decoder = self.layer.new_decoder(guidance=guidance, constants=self.constants(0, 1, 0, 1))
        for t, want in enumerate(tensor(case['tokens'])):
            made, _, _ = decoder.sample(constants=self.constants(t, t + 1, 0, 1))
            np.testing.assert_array_equal(made[0], want)
