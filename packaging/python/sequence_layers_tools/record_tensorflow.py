"""Records golden cases of layers that only the TensorFlow version has, and of models with them.

  python -m sequence_layers_tools.record_tensorflow CASES.json --out DIRECTORY

CASES.json is a list of {"config": ..., "input": [batch, time, channels...]}. A case that reads constants
also has "constants": {name: [batch, time, channels...]}, with the names of streamed constants in
"along". A case whose input is tokens has their number in "tokens". A config is one that
tensorflow_model.py builds, or the path of a config file, relative to the list's folder: such a model
becomes a case of TensorFlowModels, named after its folder. Random weights and inputs are seeded by the
case's position in the list of its type, so that every run gives the same files. Writes <Type>.json and
<Type>.safetensors as the directory's README describes.

Needs: pip install tensorflow-cpu tf_keras sequence-layers attrs scipy safetensors
"""

import argparse
import json
import os
import pathlib
import sys

import numpy as np
import safetensors.numpy

# Imported before TensorFlow, which it sets up.
from sequence_layers_tools import tensorflow_model  # isort: skip
import sequence_layers.tensorflow as sl
import tensorflow as tf

_TOLERANCE = 1e-5
# Number of input steps that are examined on both sides of an output step.
_REACH = 24


Constants = dict[str, sl.Sequence]


def _sequence(values: np.ndarray, mask: np.ndarray) -> sl.Sequence:
    return sl.Sequence(tf.constant(values), tf.constant(mask.astype(np.float32))).mask_invalid()


def _run(
    layer: sl.SequenceLayer, values: np.ndarray, mask: np.ndarray, constants: Constants
) -> tuple[sl.Sequence, dict[str, sl.Sequence]]:
    """The layer's output, and its emits by name."""
    x = _sequence(values, mask)
    y, emits = layer.layer_with_emits(x, training=False, constants=constants)
    named = emits._asdict() if hasattr(emits, '_asdict') else {}
    return y.mask_invalid(), {name: emit.mask_invalid() for name, emit in named.items()}


def _lengthened(constant: sl.Sequence, time: int) -> sl.Sequence:
    """The first item of the constant repeated to that many steps, all valid."""
    values = np.resize(constant.values[:1].numpy(), (1, time, *constant.values.shape[2:]))
    return _sequence(values, np.ones((1, time), bool))


def _receptive_fields(
    layer: sl.SequenceLayer, x: np.ndarray, constants: Constants, along: list[str]
) -> dict[int, list[int | str] | None]:
    """Which input steps each output step of the ratio's cycle reads, found by running the layer.

    Steps are counted from the input step at the output step's own position. A NaN in a step shows
    even through taps of zero; a token shows when another one replaces it. A layer that reads as far
    back as this function looks counts as one that reads all steps.
    """
    cycle, period = layer.output_ratio.numerator, layer.output_ratio.denominator
    middle = _REACH * period
    constants = {
        k: _lengthened(v, v.values.shape[1] * 2 * middle // x.shape[1])
        if k in along
        else sl.Sequence(v.values[:1], v.mask[:1])
        for k, v in constants.items()
    }
    mask = np.ones((1, 2 * middle), bool)
    other = np.nan if x.dtype == np.float32 else 1
    values = np.zeros((1, 2 * middle, *x.shape[2:]), x.dtype)

    @tf.function  # compiled, as many runs have one shape
    def run(values):
        x = sl.Sequence(values, tf.constant(mask.astype(np.float32)))
        return layer.layer(x, training=False, constants=constants).values

    plain = run(tf.constant(values)).numpy()
    read = {i: [] for i in range(cycle)}
    for step in range(middle - _REACH, middle + _REACH):
        values[:] = 0
        values[:, step] = other
        y = run(tf.constant(values)).numpy()
        for i in range(cycle):
            if (y != plain)[:, _REACH * cycle + i].any():
                read[i].append(step - middle)
    # Effects of a changed token fade below rounding after some steps.
    far = -_REACH if x.dtype == np.float32 else -_REACH // 2
    return {
        i: ['-inf' if min(t) <= far else min(t), max(t)] if t else None for i, t in read.items()
    }


def _metadata(
    layer: sl.SequenceLayer,
    x: np.ndarray,
    y: sl.Sequence,
    constants: Constants,
    along: list[str],
) -> dict:
    steps = layer.supports_step
    fields = _receptive_fields(layer, x, constants, along)
    bounds = [f for f in fields.values() if f]
    whole = [min((b[0] for b in bounds), key=float), max(b[1] for b in bounds)] if bounds else None
    return {
        'block_size': layer.block_size,
        'output_ratio': [layer.output_ratio.numerator, layer.output_ratio.denominator],
        'supports_step': steps() if callable(steps) else steps,
        # TensorFlow's layers have no latency: their steps give what whole runs give, at once.
        'input_latency': 0,
        'output_latency': 0,
        'receptive_field': whole,
        'receptive_field_per_step': {str(i): f for i, f in fields.items()},
        'input': {'channel_shape': list(x.shape[2:]), 'dtype': x.dtype.name},
        'output': {'channel_shape': y.channel_shape.as_list(), 'dtype': y.values.dtype.name},
        'constants': {name: 'sequence' for name in constants},
        'stream_constants': False,
        'rtol': _TOLERANCE,
        'atol': _TOLERANCE,
        'padding_invariance_pad_value': 'nan',
        'test_padding_invariance': True,
        'test_batching': True,
        'test_2x_step': True,
    }


def _check_steps(
    layer: sl.SequenceLayer,
    values: np.ndarray,
    mask: np.ndarray,
    constants: Constants,
    want: sl.Sequence,
):
    """Checks that TensorFlow's own steps agree, so that the latencies above are right."""
    x = _sequence(values, mask)
    state = layer.get_initial_state(x, constants)
    got, _, _ = sl.utils.step_by_step_dynamic(layer, x, False, state, constants=constants)
    time = min(got.values.shape[1], want.values.shape[1])
    np.testing.assert_allclose(got.values[:, :time], want.values[:, :time], atol=1e-5)
    np.testing.assert_array_equal(got.mask[:, :time], want.mask[:, :time])


def _random(
    rng: np.random.Generator, shape: list[int], tokens: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Random values, and a mask by which each item is shorter than the one before."""
    if tokens:
        values = rng.integers(0, tokens, shape, np.int32)
    else:
        values = rng.standard_normal(shape).astype(np.float32)
    lengths = np.maximum(1, shape[1] - 3 * np.arange(shape[0]))
    mask = np.arange(shape[1]) < lengths[:, np.newaxis]
    return values * mask.reshape(mask.shape + (1,) * (len(shape) - 2)), mask


def _record(request: dict, name: str, seed: int) -> tuple[dict, dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    config = request['config']
    node = tensorflow_model.build(config)
    layer = node.layer
    values, mask = _random(rng, request['input'], request.get('tokens', 0))
    given = {k: _random(rng, v) for k, v in request.get('constants', {}).items()}
    constants = {k: _sequence(*v) for k, v in given.items()}
    _run(layer, values, mask, constants)  # creates the weights
    for variable in layer.variables:
        noise = 0.1 * rng.standard_normal(variable.shape).astype(np.float32)
        variable.assign(variable + noise)
    weights = {f'params.{k}': v for k, v in node.weights().items()}
    y, emits = _run(layer, values, mask, constants)
    metadata = _metadata(layer, values, y, constants, request.get('along', []))
    if metadata['supports_step']:
        _check_steps(layer, values, mask, constants, y)
    tensors = {f'weights/{k}': v for k, v in weights.items()}
    tensors |= {
        'input.values': values,
        'input.mask': mask,
        'output.values': y.values.numpy(),
        'output.mask': y.mask.numpy() > 0,
    }
    for key, (constant, valid) in given.items():
        tensors |= {f'constants.{key}.values': constant, f'constants.{key}.mask': valid}
    for key, emit in emits.items():
        tensors[f'emits.{key}.values'] = emit.values.numpy()
        tensors[f'emits.{key}.mask'] = emit.mask.numpy() > 0
    if emits:
        metadata['emits'] = sorted(k.removeprefix('emits.') for k in tensors if k[:6] == 'emits.')
    case = {'name': name, **metadata, 'config': config}
    packed = dict(_pack(f'{name}/{k}', v) for k, v in tensors.items())
    return case, packed


def _pack(name: str, array: np.ndarray) -> tuple[str, np.ndarray]:
    """Stores complex numbers as parts on a last axis, marked in the name."""
    if np.iscomplexobj(array):
        name, array = f'{name}@complex64', np.stack([array.real, array.imag], -1)
    return name, np.ascontiguousarray(array)


def _place(request: dict, folder: pathlib.Path) -> tuple[str, str]:
    """The type of a request and its case's name, if any. Reads the config if it is a path."""
    if not isinstance(request['config'], str):
        return request['config']['type'], ''
    path = (folder / request['config']).resolve()
    request['config'] = json.loads(path.read_text())
    parts = [part for part in path.parent.parts[-2:] if part != 'small']
    return 'TensorFlowModels', f'__{parts[-1]}'


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('cases', help='the JSON file of configs and input shapes')
    parser.add_argument('--out', required=True, help='the directory of golden cases')
    args = parser.parse_args()

    by_type = {}
    folder = pathlib.Path(args.cases).parent
    with open(args.cases) as file:
        for request in json.load(file):
            layer_type, name = _place(request, folder)
            by_type.setdefault(layer_type, []).append((name, request))
    for layer_type, requests in by_type.items():
        cases, tensors = [], {}
        for i, (name, request) in enumerate(requests):
            case, data = _record(request, f'{layer_type}__tensorflow{name or i}', i)
            cases.append(case)
            tensors |= data
        path = os.path.join(args.out, layer_type)
        with open(f'{path}.json', 'w') as file:
            json.dump({'type': layer_type, 'cases': cases}, file, indent=1)
            file.write('\n')
        safetensors.numpy.save_file(tensors, f'{path}.safetensors')
        print(f'{layer_type}: {len(cases)} cases')
    return 0


if __name__ == '__main__':
    sys.exit(main())
