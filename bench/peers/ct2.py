"""CTranslate2: a decoder of its own format, which is written here."""

import pathlib
import tempfile
import time

import ctranslate2
import numpy as np
from ctranslate2.specs import common_spec, transformer_spec

from peers import models
from peers.rows import Row
from peers.runner import Runner, Skipped

_COMPUTE_TYPES = {'float32': 'float32', 'int8': 'int8_float32'}


def _write(model: models.Model, folder: pathlib.Path) -> None:
    sizes = model.sizes
    spec = transformer_spec.TransformerDecoderModelSpec.from_config(
        sizes['blocks'],
        sizes['heads'],
        activation=common_spec.Activation.SWISH,
        ffn_glu=True,
        rms_norm=True,
        rotary_dim=sizes['units'],
        rotary_interleave=False,
    )
    decoder, width = spec.decoder, sizes['width']

    def weight(ending: str, repeat: int | None = None) -> np.ndarray:
        (name,) = (n for n in model.weights if n.endswith('.' + ending))
        return model.weights[name] if repeat is None else model.weights[name][repeat]

    def transposed(kernel: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(kernel.T)

    decoder.scale_embeddings = False
    decoder.embeddings.weight = weight('embedding.embedding')
    decoder.layer_norm.gamma = weight('output_rms_norm.scale')
    decoder.projection.weight = transposed(weight('to_logits.kernel'))
    for i, layer in enumerate(decoder.layer):
        attention, ffn = layer.self_attention, layer.ffn
        attention.layer_norm.gamma = weight('self_attention.rms_norm.scale', i)
        qkv = weight('query_key_value_projection.kernel', i).reshape(width, -1)
        attention.linear[0].weight = transposed(qkv)
        out = weight('output_projection.kernel', i).reshape(width, width)
        attention.linear[1].weight = transposed(out)
        ffn.layer_norm.gamma = weight('ffn.rms_norm.scale', i)
        gate, up = np.split(weight('dense1.kernel', i), 2, axis=1)
        ffn.linear_0.weight, ffn.linear_0_noact.weight = transposed(gate), transposed(up)
        ffn.linear_1.weight = transposed(weight('dense2.kernel', i))
    spec.config.layer_norm_epsilon = 1e-6
    spec.config.bos_token = spec.config.eos_token = spec.config.unk_token = '0'
    spec.register_vocabulary([str(i) for i in range(sizes['vocabulary'])])
    spec.validate()
    spec.save(str(folder))


class _Generator(Runner):
    def __init__(self, row: Row, threads: int):
        if row.weight_format not in _COMPUTE_TYPES:
            raise Skipped(f'no {row.weight_format} on a CPU')
        compute_type = _COMPUTE_TYPES[row.weight_format]
        with tempfile.TemporaryDirectory() as folder:
            _write(row.built, pathlib.Path(folder))
            self._generator = ctranslate2.Generator(
                folder, device='cpu', compute_type=compute_type, intra_threads=threads
            )
        self._step = row.is_step
        self._tokens = row.x[0, : row.checked if row.is_step else row.time].tolist()
        self.how = (
            f'{compute_type}, greedy tokens after a cached prompt' if row.is_step else compute_type
        )

    def outputs(self) -> np.ndarray:
        return np.array(self._generator.forward_batch([self._tokens]))

    def seconds(self, count: int) -> float:
        start = time.perf_counter()
        if not self._step:
            for _ in range(count):
                self._generator.forward_batch([self._tokens])
            return time.perf_counter() - start
        prompt = [str(t) for t in self._tokens]
        self._generate(prompt, 1)
        start = time.perf_counter()
        self._generate(prompt, count)
        return time.perf_counter() - start

    def _generate(self, prompt: list[str], count: int) -> None:
        self._generator.generate_batch(
            [['1']], static_prompt=prompt, max_length=count, min_length=count,
            sampling_topk=1, include_prompt_in_result=False, end_token=[0],
        )  # fmt: skip


def make(row: Row, threads: int) -> Runner:
    if row.built.kind != 'decoder':
        raise Skipped(f'no model for {row.built.kind}')
    return _Generator(row, threads)
