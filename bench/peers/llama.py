"""llama.cpp by llama-cpp-python, on a GGUF file of its architecture `llama`, which is written here."""

import pathlib
import tempfile
import time

import gguf
import llama_cpp
import numpy as np

from peers import models
from peers.rows import OPEN, Row
from peers.runner import Openings, Runner, Skipped

_TYPES = {
    'float32': gguf.GGMLQuantizationType.F32,
    'bfloat16': gguf.GGMLQuantizationType.BF16,
    'int8': gguf.GGMLQuantizationType.Q8_0,
    'int4': gguf.GGMLQuantizationType.Q4_0,
}


def _interleaved(kernel: np.ndarray) -> np.ndarray:
    """A projection [width, heads, units] whose rotated halves alternate, as this architecture pairs them."""
    halves = kernel.reshape(*kernel.shape[:2], 2, -1)
    return np.swapaxes(halves, 2, 3).reshape(kernel.shape)


def write(model: models.Model, path: pathlib.Path, weight_format: str) -> None:
    sizes, kind = model.sizes, _TYPES[weight_format]
    width = sizes['width']
    writer = gguf.GGUFWriter(str(path), 'llama')
    writer.add_context_length(4096)
    writer.add_embedding_length(width)
    writer.add_block_count(sizes['blocks'])
    writer.add_feed_forward_length(sizes['inner'])
    writer.add_head_count(sizes['heads'])
    writer.add_head_count_kv(sizes['heads'])
    writer.add_rope_dimension_count(sizes['units'])
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(sizes['vocabulary'])
    writer.add_tokenizer_model('no_vocab')

    def weight(ending: str, repeat: int | None = None) -> np.ndarray:
        (name,) = (n for n in model.weights if n.endswith('.' + ending))
        return model.weights[name] if repeat is None else model.weights[name][repeat]

    def vector(name: str, array: np.ndarray) -> None:
        writer.add_tensor(f'{name}.weight', np.ascontiguousarray(array))

    def kernel(name: str, array: np.ndarray) -> None:
        outputs_first = np.ascontiguousarray(array.T)
        if weight_format == 'float32':
            vector(name, outputs_first)
        else:
            data = gguf.quants.quantize(outputs_first, kind)
            writer.add_tensor(f'{name}.weight', data, raw_dtype=kind)

    vector('token_embd', weight('embedding.embedding'))
    vector('output_norm', weight('output_rms_norm.scale'))
    kernel('output', weight('to_logits.kernel'))
    for i in range(sizes['blocks']):
        q, k, v = np.moveaxis(weight('query_key_value_projection.kernel', i), 1, 0)
        vector(f'blk.{i}.attn_norm', weight('self_attention.rms_norm.scale', i))
        kernel(f'blk.{i}.attn_q', _interleaved(q).reshape(width, -1))
        kernel(f'blk.{i}.attn_k', _interleaved(k).reshape(width, -1))
        kernel(f'blk.{i}.attn_v', v.reshape(width, -1))
        kernel(f'blk.{i}.attn_output', weight('output_projection.kernel', i).reshape(-1, width))
        vector(f'blk.{i}.ffn_norm', weight('ffn.rms_norm.scale', i))
        gate, up = np.split(weight('dense1.kernel', i), 2, axis=1)
        kernel(f'blk.{i}.ffn_gate', gate)
        kernel(f'blk.{i}.ffn_up', up)
        kernel(f'blk.{i}.ffn_down', weight('dense2.kernel', i))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


class _Decoder(Runner):
    def __init__(self, row: Row, threads: int):
        self._vocabulary = row.built.sizes['vocabulary']
        llama_cpp.llama_backend_init()
        options = llama_cpp.llama_model_default_params()
        # Weights are repacked for this machine, which a mapped file would prevent.
        options.use_mmap = False
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / 'model.gguf'
            write(row.built, path, row.weight_format)
            self._model = llama_cpp.llama_model_load_from_file(str(path).encode(), options)
        if not self._model:
            raise RuntimeError('llama.cpp did not load the model')
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx, settings.n_batch, settings.n_ubatch = 512, 512, 512
        settings.n_threads = settings.n_threads_batch = threads
        if row.weight_format == 'float32':
            settings.type_k = settings.type_v = llama_cpp.GGML_TYPE_F32
            settings.flash_attn_type = llama_cpp.LLAMA_FLASH_ATTN_TYPE_DISABLED
        self._context = llama_cpp.llama_init_from_model(self._model, settings)
        self._memory = llama_cpp.llama_get_memory(self._context)
        tokens = row.x[0, : row.checked if row.is_step else row.time]
        self._prompt = llama_cpp.llama_batch_init(512, 0, 1)
        self._one = llama_cpp.llama_batch_init(1, 0, 1)
        self._put(self._prompt, tokens, 0)
        self._put(self._one, tokens[:1], len(tokens))
        self._length, self._step = len(tokens), row.is_step
        cache = 'float32' if row.weight_format == 'float32' else 'float16'
        self.how = f'{_TYPES[row.weight_format].name}, cache {cache}'

    @staticmethod
    def _put(batch: llama_cpp.llama_batch, tokens: np.ndarray, position: int) -> None:
        batch.n_tokens = len(tokens)
        for i, token in enumerate(tokens):
            batch.token[i], batch.pos[i] = int(token), position + i
            batch.n_seq_id[i], batch.seq_id[i][0], batch.logits[i] = 1, 0, 1

    def _decode(self, batch: llama_cpp.llama_batch) -> None:
        if llama_cpp.llama_decode(self._context, batch):
            raise RuntimeError('llama_decode failed')
        llama_cpp.llama_synchronize(self._context)

    def outputs(self) -> np.ndarray:
        llama_cpp.llama_memory_clear(self._memory, True)
        self._decode(self._prompt)
        logits = llama_cpp.llama_get_logits(self._context)
        return np.ctypeslib.as_array(logits, (1, self._length, self._vocabulary)).copy()

    def seconds(self, count: int) -> float:
        start = time.perf_counter()
        for _ in range(count):
            if self._step:
                # Each step stands behind the prompt, as the cache of the others has a fixed length.
                llama_cpp.llama_memory_seq_rm(self._memory, 0, self._length, -1)
                self._decode(self._one)
            else:
                llama_cpp.llama_memory_clear(self._memory, False)
                self._decode(self._prompt)
        return time.perf_counter() - start


class _Opening(Openings):
    """Loading a mapped GGUF file and making a context."""

    kind = 'private, mapped'

    def __init__(self, row: Row, threads: int):
        llama_cpp.llama_backend_init()
        self._folder = tempfile.TemporaryDirectory()
        self._path = pathlib.Path(self._folder.name) / 'model.gguf'
        write(row.built, self._path, row.weight_format)
        self.measure_memory()

    def open(self) -> tuple[object, object]:
        options = llama_cpp.llama_model_default_params()
        model = llama_cpp.llama_model_load_from_file(str(self._path).encode(), options)
        settings = llama_cpp.llama_context_default_params()
        settings.n_ctx = 512
        return model, llama_cpp.llama_init_from_model(model, settings)

    def close(self, kept: tuple[object, object]) -> None:
        model, context = kept
        llama_cpp.llama_free(context)
        llama_cpp.llama_model_free(model)


def make(row: Row, threads: int) -> Runner:
    if row.built.kind != 'decoder':
        raise Skipped(f'no model for {row.built.kind}')
    if row.mode == OPEN:
        return _Opening(row, threads)
    return _Decoder(row, threads)
