"""Records cases of MultivariateDecoder with the package magenta_rt.

  PYTHONPATH=packaging/python:.deps/magenta .deps/reference-venv/bin/python \\
      -m sequence_layers_tools.record_magenta tests/golden

Needs the package: packaging/setup.sh --magenta.
"""

import argparse
import dataclasses
import pathlib
from typing import Any

# Imported before everything that imports sequence_layers.
from sequence_layers_tools import magenta_models, magenta_parts  # isort: skip

import numpy as np
from sequence_layers import jax as sl

from sequence_layers_tools import convert_magenta, recorded_case, reference_config

_BATCH, _TIME = 2, 14
_TYPE = 'MultivariateDecoder'


def _whole_logits(part: magenta_parts.Part) -> magenta_parts.Part:
    """The part with the weights and logits of all tokens for each of them, as the package has it."""
    own = part.module.config
    config = {k: v for k, v in part.config.items() if k != 'codebook_logits'}
    config['depth_body'] = reference_config.to_json(own.depth_body)

    def run(module: Any, x: sl.Sequence, constants: Any) -> sl.Sequence:
        return module.layer_with_emits(x, training=False, constants=constants)[0]

    def weights(variables: magenta_parts.Arrays) -> dict[str, np.ndarray]:
        return magenta_parts.within(variables, part.scope)

    return dataclasses.replace(part, config=config, run=run, weights=weights)


def _record(part: magenta_parts.Part, name: str) -> tuple[dict, dict[str, np.ndarray]]:
    rng = np.random.default_rng(len(name))
    variables = convert_magenta.random_variables([part])
    mask = np.arange(_TIME) < np.array([[_TIME], [_TIME - 5]])
    x = part.sample(rng, _BATCH, _TIME) * mask[..., np.newaxis].astype(np.int32)
    constants = {
        key: rng.standard_normal((_BATCH, _TIME, *shape), np.float32)
        for key, shape in part.constants.items()
    }
    y = part.reference(variables, x, constants) * mask[..., np.newaxis, np.newaxis]
    made = {f'weights/{k}': v for k, v in part.weights(variables).items()}
    made |= {'input.values': x, 'output.values': y.astype(np.float32)}
    made |= {'input.mask': mask, 'output.mask': mask}
    for key, value in constants.items():
        made |= {f'constants.{key}.values': value}
        made |= {f'constants.{key}.mask': np.ones((_BATCH, _TIME), bool)}
    transformer = part.module.config.temporal_body.layers[0]
    first = -1 - transformer.max_past_horizon * transformer.num_layers
    case = {
        'name': name,
        'block_size': 1,
        'output_ratio': [1, 1],
        'supports_step': True,
        'input_latency': 0,
        'output_latency': 0,
        'receptive_field': [first, 0],
        'receptive_field_per_step': {'0': [first, 0]},
        'input': {'channel_shape': list(x.shape[2:]), 'dtype': 'int32'},
        'output': {'channel_shape': list(y.shape[2:]), 'dtype': 'float32'},
        'constants': dict.fromkeys(part.constants, 'sequence'),
        'stream_constants': True,
        'emits': [],
        'rtol': 1e-4,
        'atol': 1e-4,
        'padding_invariance_pad_value': 'nan',
        'test_padding_invariance': True,
        'test_batching': True,
        'test_2x_step': True,
        'config': part.config,
    }
    return case, {f'{name}/{key}': np.ascontiguousarray(value) for key, value in made.items()}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('directory', type=pathlib.Path)
    part = magenta_parts.decoder(magenta_models.find('tiny', 'float32'))
    recorded = [
        _record(part, f'{_TYPE}__codebook_logits'),
        _record(_whole_logits(part), f'{_TYPE}__all_logits'),
    ]
    cases = [case for case, _ in recorded]
    tensors = {key: value for _, made in recorded for key, value in made.items()}
    recorded_case.write(parser.parse_args().directory, _TYPE, cases, tensors)


if __name__ == '__main__':
    main()
