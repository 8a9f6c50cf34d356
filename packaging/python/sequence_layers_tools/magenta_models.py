"""The models of Magenta RealTime 2 as the package configures them, and a small one for tests.

Needs the package: packaging/setup.sh --magenta.
"""

import dataclasses
from typing import Any

# Imported before everything that imports sequence_layers.
from sequence_layers_tools import magenta_package as package  # isort: skip

import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Magenta:
    """The configs of a whole model."""

    depthformer: Any  # EncoderDecoder.Config
    codec: Any  # SpectroStream.Config
    conditioning_channels: int


class _Tiny(package.model.MagentaRT2ModelBase):
    """A model of the same structure that fits into a test."""

    _spec = dataclasses.replace(
        package.config.S, num_layers=2, model_dims=32, hidden_dims=48, num_heads=2, dim_per_head=8
    )
    encoder_size = dataclasses.replace(_spec, model_dims=16)
    decoder_temporal_size = _spec
    decoder_depth_size = dataclasses.replace(_spec, model_dims=24)
    decoder_temporal_self_attention_max_past_horizon = 5
    decoder_temporal_cross_attention_max_past_horizon = 4
    spectrostream = dataclasses.replace(
        package.config.SPECTROSTREAM, codebook_size=16, rvq_levels=6, rvq_truncation_level=4
    )


def _tiny_codec(codec: Any) -> Any:
    quantizer = dataclasses.replace(
        codec.quantizer, num_quantizers=6, truncation_level=4, num_embeddings=16, embedding_dim=16
    )
    return dataclasses.replace(
        codec,
        stft_frame_length=48,
        stft_frame_step=24,
        stft_fft_length=48,
        ratios=((1, 2), (1, 3), (2, 2), (2, 1)),
        mults=(2, 1, 2, 1),
        channel_recombo_block=-2,
        num_bins=24,
        num_features=16,
        encoder_base_conv_depth=4,
        decoder_base_conv_depth=4,
        quantizer=quantizer,
    )


def names() -> list[str]:
    return [*package.model.MODEL_REGISTRY, 'tiny']


def find(name: str, compute_dtype: str = 'bfloat16') -> Magenta:
    """The configs of the model, whose transformers compute in that dtype."""
    chosen = _Tiny() if name == 'tiny' else package.model.get_model_class(name)()
    chosen.compute_dtype = jnp.dtype(compute_dtype).type
    codec = package.spectrostream.stft_spectrostream_40ms_generic_48khz_stereo_config(
        rvq_truncation_level=chosen.spectrostream.rvq_truncation_level
    )
    if name == 'tiny':
        codec = _tiny_codec(codec)
    return Magenta(chosen.depthformer_config(), codec, chosen.input_num_channels)


def encoder_body(magenta: Magenta) -> Any:
    """The layers that make the conditioning of a frame from its tokens."""
    return magenta.depthformer.encoder.make().bind({}).body
