"""The parts of Magenta RealTime 2 as models of this library, each beside what the package computes.

Needs the package: packaging/setup.sh --magenta.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

# Imported before everything that imports sequence_layers.
from sequence_layers_tools import magenta_models  # isort: skip

import jax
import jax.numpy as jnp
import numpy as np
from sequence_layers import jax as sl

from sequence_layers_tools import config_map, convert, reference_config, traced_specs

Config = dict[str, Any]
Arrays = Mapping[str, np.ndarray]

_CONDITIONING_SCOPE = 'params.depthformer.encoder.body'
_DECODER_SCOPE = 'params.depthformer.decoder'
_CODEC_SCOPE = 'params.soundstream'
# Steps of the sequences with which variables are made.
_TIME = 2


@dataclasses.dataclass(frozen=True)
class Part:
    """A model, and the module of the package that computes the same.

    Attributes:
      name: The name of its directory.
      config: The layer tree.
      channel_shape: The shape of one input step.
      dtype: The dtype of the input.
      weights: Makes its weights from the variables of the whole model, by dotted paths.
      module: The package's module.
      scope: The path of the module's variables in the whole model.
      run: Runs the module on a Sequence, with constants.
      tokens: The number of tokens that each input channel can have; none if it takes sound.
      constants: Shapes of constants that come with each step.
      sample_rate: The rate of its input or output, if that is sound.
    """

    name: str
    config: Config
    channel_shape: tuple[int, ...]
    dtype: str
    weights: Callable[[Arrays], dict[str, np.ndarray]]
    module: Any
    scope: str
    run: Callable[[Any, Any, Any], Any]
    tokens: np.ndarray | None = None
    constants: Mapping[str, tuple[int, ...]] = dataclasses.field(default_factory=dict)
    sample_rate: float | None = None

    def sample(self, rng: np.random.Generator, batch: int, time: int) -> np.ndarray:
        """A random input."""
        shape = (batch, time, *self.channel_shape)
        if self.tokens is None:
            return 0.3 * rng.standard_normal(shape, np.float32)
        return rng.integers(0, self.tokens, shape).astype(np.int32)

    def reference(self, variables: Arrays, x: np.ndarray, constants: Arrays) -> np.ndarray:
        """The package's output for the input."""
        own = convert.unflatten(within(variables, self.scope))

        @jax.jit
        def run(own: Any, x: Any, constants: Any) -> Any:
            sequence = sl.Sequence.from_values(x)
            given = {k: sl.Sequence.from_values(v) for k, v in constants.items()}
            method = lambda module: self.run(module, sequence, given)  # noqa: E731
            return self.module.apply(own, method=method).values

        with jax.default_matmul_precision('highest'):
            return np.asarray(run(own, jnp.asarray(x), dict(constants)))

    def shapes(self) -> dict[str, tuple[str, list[int]]]:
        """Dtypes and shapes of the module's variables by their paths in the whole model."""
        time = (
            _TIME if self.tokens is not None else _TIME * self.module.config.waveform_to_codes_ratio
        )
        x = jax.ShapeDtypeStruct((1, time, *self.channel_shape), self.dtype)
        given = {
            k: jax.ShapeDtypeStruct((1, time, *s), 'float32') for k, s in self.constants.items()
        }

        def init(key: Any, x: Any, given: Any) -> Any:
            sequences = {k: sl.Sequence.from_values(v) for k, v in given.items()}
            sequence = sl.Sequence.from_values(x)
            return self.module.init(key, method=lambda m: self.run(m, sequence, sequences))

        key = jax.ShapeDtypeStruct((2,), np.uint32)
        made = convert.shapes(jax.eval_shape(init, key, x, given))
        return {path.replace('params', self.scope, 1): spec for path, spec in made.items()}


def within(variables: Arrays, scope: str) -> dict[str, np.ndarray]:
    """The variables of a scope, as if it was the whole."""
    prefix = f'{scope}.'
    return {
        f'params.{k.removeprefix(prefix)}': v for k, v in variables.items() if k.startswith(prefix)
    }


def _json(config: Any, shape: tuple[int, ...], dtype: str, mapping: Mapping[str, Any]) -> Config:
    specs = traced_specs.record(config, shape, dtype, {})
    return reference_config.to_json(config, mapping=config_map.ConfigMap(mapping), specs=specs)


def _channel_embedding(config: Any) -> Config:
    """A MultiChannelEmbedding of the package as this library has it."""
    return {
        'type': 'MultiChannelEmbedding',
        'dimension': config.dimension,
        'num_embeddings_per_channel': list(config.num_embeddings_per_channel),
        'num_channels': config.num_channels,
        'num_reserved_embeddings': config.num_reserved_embeddings,
        'reduction_fn': config.reduction_fn and config.reduction_fn.__name__,
        'compute_dtype': jnp.dtype(config.compute_dtype).name,
        'round_num_embeddings_to_multiple_of_128': config.round_num_embeddings_to_multiple_of_128,
    }


def _embedding_configs(config: Any) -> list[Any]:
    """All MultiChannelEmbeddings within a config."""
    if isinstance(config, magenta_models.package.transformer.MultiChannelEmbedding.Config):
        return [config]
    if isinstance(config, tuple | list):
        return [found for child in config for found in _embedding_configs(child)]
    if isinstance(config, sl.SequenceLayerConfig):
        values = [getattr(config, field.name) for field in dataclasses.fields(config)]
        return [found for value in values for found in _embedding_configs(value)]
    return []


def conditioning(magenta: magenta_models.Magenta) -> Part:
    """The layers that make the conditioning of a frame from its style, notes and drums."""
    body = reference_config.config_of(magenta_models.encoder_body(magenta))
    (embedding,) = _embedding_configs(body)
    key = 'magenta_rt.jax.transformer:MultiChannelEmbedding'
    shape = (magenta.conditioning_channels,)
    written = _json(body, shape, 'int32', {key: _channel_embedding(embedding)})
    count = shape[0] - embedding.num_channels
    style = magenta_models.package.config.MUSICCOCA.per_rvq_vocab_size
    tokens = np.array([style] * count + list(embedding.num_embeddings_per_channel))
    return Part(
        name='conditioning',
        config={k: v for k, v in written.items() if k != 'name'},
        channel_shape=shape,
        dtype='int32',
        weights=lambda variables: within(variables, _CONDITIONING_SCOPE),
        module=magenta.depthformer.encoder.make(),
        scope=_CONDITIONING_SCOPE.removesuffix('.body'),
        run=lambda module, x, _: module.body.layer(x, training=False),
        tokens=tokens,
    )


def decoder(magenta: magenta_models.Magenta) -> Part:
    """The temporal and the depth decoder.

    The package computes the logits of all codebooks for each token and hides all but those of one.
    Here the last layer of the depth decoder has weights of its own for each codebook.
    """
    own = magenta.depthformer.decoder
    first, count, size = own.num_reserved_tokens, own.num_codebooks, own.codebook_size
    *depth, logits = own.depth_body.layers
    assert isinstance(logits, sl.Dense.Config) and logits.name == 'to_logits'
    written = {'type': 'SequenceDense', 'features': size, 'num_steps': count}
    written |= {'compute_dtype': jnp.dtype(logits.compute_dtype).name, 'name': logits.name}
    body = {k: v for k, v in reference_config.to_json(own.depth_body).items() if k != 'layers'}
    body['layers'] = [*map(reference_config.to_json, depth), written]
    config = {
        'type': 'MultivariateDecoder',
        'embedder': reference_config.to_json(own.embedder),
        'temporal_body': reference_config.to_json(own.temporal_body),
        'depth_body': body,
        'sos_id': own.sos_id,
        'num_reserved_tokens': first,
        'codebook_size': size,
        'num_codebooks': count,
        'codebook_logits': True,
        'temperature_last': True,
        'soft_cap_logits': own.soft_cap_logits,
    }

    def weights(variables: Arrays) -> dict[str, np.ndarray]:
        made = within(variables, _DECODER_SCOPE)
        scope = f'params.{own.depth_body.name}.{logits.name}'
        for name in (f'{scope}.kernel', f'{scope}.bias'):
            used = made[name][..., first : first + count * size]
            parts = used.reshape(*used.shape[:-1], count, size)
            made[name] = np.ascontiguousarray(np.moveaxis(parts, -2, 0))
        return made

    def run(module: Any, x: sl.Sequence, constants: Any) -> sl.Sequence:
        y, _ = module.layer_with_emits(x, training=False, constants=constants)
        parts = [y.values[..., i, first + i * size :][..., :size] for i in range(count)]
        return sl.Sequence(jnp.stack(parts, -2).astype(jnp.float32), y.mask)

    dimension = magenta.depthformer.encoder.embedding_dimension
    return Part(
        name='decoder',
        config=config,
        channel_shape=(count,),
        dtype='int32',
        weights=weights,
        module=own.make(),
        scope=_DECODER_SCOPE,
        run=run,
        tokens=np.full(count, first + count * size),
        constants={magenta.depthformer.conditioning_name: (dimension,)},
    )


def _views(codec: Any) -> dict[str, Config]:
    """The codec's functions between spectra and real channels, by their keys in a map."""
    bins, package = codec.num_bins, 'magenta_rt.jax.spectrostream'
    slices = [{'slice': [0, bins, None]}, {'slice': [None, None, None]}]
    real = [{'type': 'ViewAsReal'}, {'type': 'Slice', 'slices': slices}]
    missing = codec.stft_fft_length // 2 + 1 - bins
    number = [{'type': 'Pad', 'paddings': [[0, missing], [0, 0]]}, {'type': 'ViewAsComplex'}]
    return {
        f'{package}:spectrostream_stft_config.<locals>.slice_and_bitcast': _serial(real),
        f'{package}:spectrostream_inverse_stft_config.<locals>.cast_pad_and_bitcast': _serial(
            number
        ),
    }


def _serial(layers: list[Config]) -> Config:
    return {'type': 'Serial', 'layers': layers}


def _quantizer(codec: Any, direction: str) -> Config:
    """The quantizer between sound and codes."""
    own = codec.quantizer
    return {
        'type': 'ResidualVectorQuantizer',
        'direction': direction,
        'num_quantizers': own.num_quantizers,
        'num_embeddings': own.num_embeddings,
        'embedding_dim': own.embedding_dim,
        'use_unique_codes': own.use_unique_codes,
        'truncation_level': own.truncation_level,
        'encoded_truncation_level': own.encoded_truncation_level,
        'name': 'quantizer',
    }


def _codec_weights(direction: str) -> Callable[[Arrays], dict[str, np.ndarray]]:
    def weights(variables: Arrays) -> dict[str, np.ndarray]:
        made = within(variables, _CODEC_SCOPE)
        scopes = (f'params.{direction}.', 'params.quantizer.')
        return {k: v for k, v in made.items() if k.startswith(scopes)}

    return weights


def codec_decoder(magenta: magenta_models.Magenta) -> Part:
    """The decoder of the codec, which makes sound of codes."""
    codec = magenta.codec
    layers = [
        _quantizer(codec, 'codes_to_embeddings'),
        _json(codec.decoder, (codec.num_features,), 'float32', {}),
        _json(codec.inverse_stft, (codec.num_bins, codec.num_channels), 'float32', _views(codec)),
    ]
    count = codec.quantizer.num_expected_input_codes
    return Part(
        name='codec_decoder',
        config=_serial(layers),
        channel_shape=(count,),
        dtype='int32',
        weights=_codec_weights('decoder'),
        module=codec.make(),
        scope=_CODEC_SCOPE,
        run=lambda module, x, _: module.codes_to_waveform(x, training=False),
        tokens=np.full(count, codec.quantizer.num_embeddings),
        sample_rate=codec.audio_sample_rate,
    )


def codec_encoder(magenta: magenta_models.Magenta) -> Part:
    """The encoder of the codec, which makes codes of sound."""
    codec = magenta.codec
    shape = (codec.num_channels // 2,)
    layers = [
        _json(codec.stft, shape, 'float32', _views(codec)),
        _json(codec.encoder, (codec.num_bins, codec.num_channels), 'float32', {}),
        _quantizer(codec, 'embeddings_to_codes'),
    ]
    return Part(
        name='codec_encoder',
        config=_serial(layers),
        channel_shape=shape,
        dtype='float32',
        weights=_codec_weights('encoder'),
        module=codec.make(),
        scope=_CODEC_SCOPE,
        run=lambda module, x, _: module.waveform_to_codes(x, training=False),
        sample_rate=codec.audio_sample_rate,
    )


def all_parts(magenta: magenta_models.Magenta) -> list[Part]:
    return [
        conditioning(magenta),
        decoder(magenta),
        codec_decoder(magenta),
        codec_encoder(magenta),
    ]
