"""Records golden cases again with other inputs.

Needs the reference: requirements-reference.txt.
"""

import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import load_file

# Before the reference, which it makes importable on Python 3.11.
from sequence_layers_tools import flax_rnn, model_directory, recording, reference_config  # isort: skip
from sequence_layers import jax as sl

Json = dict[str, Any]
_CHECKS = ('test_padding_invariance', 'test_batching', 'test_2x_step')


def files(directory: pathlib.Path, only: list[str] | None) -> Iterator[pathlib.Path]:
    """Files of cases, of all types or of some."""
    for file in sorted(directory.glob('*.json')):
        jax.clear_caches()
        if only is None or file.stem in only:
            yield file


def read(file: pathlib.Path) -> list[tuple[Json, dict[str, np.ndarray]]]:
    """The cases of a file, each with its tensors."""
    tensors = model_directory.unpacked(load_file(file.with_suffix('.safetensors')))
    cases = []
    for case in json.loads(file.read_text())['cases']:
        prefix = case['name'] + '/'
        own = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        cases.append((case, own))
    return cases


def write(out: pathlib.Path, kind: str, cases: list[Json], tensors: dict[str, np.ndarray]) -> None:
    """Writes cases that were recorded; nothing if there are none."""
    if not cases:
        return
    out.mkdir(parents=True, exist_ok=True)
    model_directory.write_tensors(out / f'{kind}.safetensors', model_directory.packed(tensors))
    (out / f'{kind}.json').write_text(json.dumps({'type': kind, 'cases': cases}))


def bound_layer(case: Json, tensors: Mapping[str, np.ndarray]) -> Any:
    """The layer of a case with its weights."""
    weights = {
        k.removeprefix('weights/'): v for k, v in tensors.items() if k.startswith('weights/')
    }
    flat = {tuple(name.split('.')): jnp.asarray(value) for name, value in weights.items()}
    variables = flax.traverse_util.unflatten_dict(flat)
    if case['config']['type'] == 'RNN':
        return flax_rnn.FlaxRnn(case, variables)
    layer = reference_config.from_json(case['config']).make()
    return layer.clone(name=layer.name or 'top').bind(variables)


def run(layer: Any, x: sl.Sequence, constants: Mapping[str, Any]) -> tuple[sl.Sequence, Any]:
    """The output, with zeros in invalid steps, and the emits."""
    with jax.default_matmul_precision('highest'):
        y, emits = layer.layer_with_emits(x, training=False, constants=dict(constants) or None)
    return y.mask_invalid(), emits


def record(
    case: Json,
    tensors: Mapping[str, np.ndarray],
    name: str,
    x: sl.Sequence,
    constants: Mapping[str, Any],
) -> tuple[Json, dict[str, np.ndarray]]:
    """A case of that name and its tensors; raises what the reference raises."""
    layer = bound_layer(case, tensors)
    y, emits = run(layer, x, constants)
    found = recording.flat_emits(emits)
    recorded = {
        'name': name,
        **recording.metadata(layer),
        'input': {'channel_shape': list(x.channel_shape), 'dtype': x.dtype.name},
        'output': {'channel_shape': list(y.channel_shape), 'dtype': y.dtype.name},
        'constants': case.get('constants', {}),
        'stream_constants': case.get('stream_constants', False),
        'emits': sorted(found),
        'rtol': max(case.get('rtol', 0), 1e-4),
        'atol': max(case.get('atol', 0), 1e-4),
        'padding_invariance_pad_value': 'nan',
        'config': case['config'],
    }
    recorded |= {key: case[key] for key in _CHECKS if key in case}
    made = {key: value for key, value in tensors.items() if key.startswith('weights/')}
    for key, value in {'input': x, 'output': y}.items():
        made[f'{key}.values'], made[f'{key}.mask'] = value.values, value.mask
    for key, value in constants.items():
        if isinstance(value, sl.Sequence):
            made[f'constants.{key}.values'], made[f'constants.{key}.mask'] = (
                value.values,
                value.mask,
            )
        else:
            made[f'constants.{key}'] = value
    made.update({f'emits.{path}': value for path, value in found.items()})
    return recorded, {f'{name}/{key}': np.asarray(value) for key, value in made.items()}
