"""Records cases of Mamba, computed in float64 from the paper's formulas.

  python -m sequence_layers_tools.record_mamba tests/ssm_cases
"""

import argparse
import json
import pathlib

import numpy as np

from sequence_layers_tools import model_directory

_CHANNELS, _BATCH, _TIME = 5, 2, 70
_CONFIGS = (
    {'type': 'Mamba'},
    {'type': 'Mamba', 'd_state': 3, 'd_conv': 1, 'expand': 1, 'dt_rank': 2, 'bias': True},
    {'type': 'Mamba', 'd_state': 5, 'd_conv': 7, 'expand': 3, 'conv_bias': False},
)


def _silu(x):
    return x / (1 + np.exp(-x))


def _weights(config: dict, rng) -> dict:
    n, taps = config.get('d_state', 16), config.get('d_conv', 4)
    inner = config.get('expand', 2) * _CHANNELS
    rank = config.get('dt_rank', 'auto')
    rank = -(-_CHANNELS // 16) if rank == 'auto' else rank
    shapes = {
        'in_proj.weight': (2 * inner, _CHANNELS),
        'conv1d.weight': (inner, 1, taps),
        'x_proj.weight': (rank + 2 * n, inner),
        'dt_proj.weight': (inner, rank),
        'dt_proj.bias': (inner,),
        'A_log': (inner, n),
        'D': (inner,),
        'out_proj.weight': (_CHANNELS, inner),
    }
    if config.get('bias', False):
        shapes |= {'in_proj.bias': (2 * inner,), 'out_proj.bias': (_CHANNELS,)}
    if config.get('conv_bias', True):
        shapes['conv1d.bias'] = (inner,)
    return {k: rng.uniform(-0.8, 0.8, s).astype(np.float32) for k, s in shapes.items()}


def _mamba(weights: dict, x: np.ndarray) -> np.ndarray:
    w = {k: v.astype(np.float64) for k, v in weights.items()}
    a = -np.exp(w['A_log'])
    (inner, n), taps = a.shape, w['conv1d.weight'].shape[-1]
    u, z = np.split(x @ w['in_proj.weight'].T + w.get('in_proj.bias', 0), 2, axis=-1)
    padded = np.pad(u, ((0, 0), (taps - 1, 0), (0, 0)))
    kernel = w['conv1d.weight'][:, 0]
    u = sum(padded[:, k : k + x.shape[1]] * kernel[:, k] for k in range(taps))
    u = _silu(u + w.get('conv1d.bias', 0))
    rank = w['dt_proj.weight'].shape[1]
    dt, b, c = np.split(u @ w['x_proj.weight'].T, (rank, rank + n), axis=-1)
    dt = np.log1p(np.exp(dt @ w['dt_proj.weight'].T + w['dt_proj.bias']))
    h = np.zeros((len(x), inner, n))
    y = np.empty_like(u)
    for t in range(x.shape[1]):
        h = np.exp(dt[:, t, :, None] * a) * h + (dt * u)[:, t, :, None] * b[:, t, None]
        y[:, t] = (h * c[:, t, None]).sum(-1)
    return (y + w['D'] * u) * _silu(z) @ w['out_proj.weight'].T + w.get('out_proj.bias', 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('directory', type=pathlib.Path)
    directory = parser.parse_args().directory
    rng = np.random.default_rng(0)
    cases, tensors = [], {}
    spec = {'channel_shape': [_CHANNELS], 'dtype': 'float32'}
    for i, config in enumerate(_CONFIGS):
        name = f'Mamba__{i}'
        weights = _weights(config, rng)
        x = rng.standard_normal((_BATCH, _TIME, _CHANNELS)).astype(np.float32)
        mask = np.arange(_TIME) < np.array([[_TIME], [_TIME - 9]])
        x *= mask[..., None]
        y = (_mamba(weights, x) * mask[..., None]).astype(np.float32)
        tensors |= {f'{name}/weights/params.{k}': v for k, v in weights.items()}
        tensors |= {f'{name}/input.values': x, f'{name}/output.values': y}
        tensors |= {f'{name}/input.mask': mask, f'{name}/output.mask': mask}
        cases.append({
            'name': name, 'block_size': 1, 'output_ratio': [1, 1], 'supports_step': True,
            'input_latency': 0, 'output_latency': 0, 'receptive_field': ['-inf', 0],
            'receptive_field_per_step': {'0': ['-inf', 0]}, 'input': spec, 'output': spec,
            'constants': {}, 'stream_constants': False, 'rtol': 1e-5, 'atol': 1e-5,
            'padding_invariance_pad_value': 'nan', 'test_padding_invariance': True,
            'test_batching': True, 'test_2x_step': True, 'config': config,
        })
    (directory / 'Mamba.json').write_text(json.dumps({'type': 'Mamba', 'cases': cases}))
    model_directory.write_tensors(directory / 'Mamba.safetensors', tensors)


if __name__ == '__main__':
    main()
