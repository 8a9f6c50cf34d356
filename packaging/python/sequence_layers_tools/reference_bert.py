"""BERT in numpy with float64, to compare a converted model with."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import special


def _layer_norm(x: np.ndarray, scale: np.ndarray, bias: np.ndarray, epsilon: float) -> np.ndarray:
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = np.mean(centred**2, axis=-1, keepdims=True)
    return centred / np.sqrt(variance + epsilon) * scale + bias


def _gelu(x: np.ndarray) -> np.ndarray:
    return x * 0.5 * (1 + special.erf(x / math.sqrt(2)))


class Bert:
    """An encoder that uses the parameters' original names, and the mean of its outputs."""

    def __init__(self, settings: Mapping[str, Any], parameters: Mapping[str, np.ndarray]):
        """`settings` is the original's config.json."""
        self._heads = settings['num_attention_heads']
        self._layers = settings['num_hidden_layers']
        self._epsilon = settings['layer_norm_eps']
        self._parameters = parameters

    def _get(self, name: str) -> np.ndarray:
        return self._parameters[name].astype(np.float64)

    def _dense(self, name: str, x: np.ndarray) -> np.ndarray:
        return x @ self._get(f'{name}.weight').T + self._get(f'{name}.bias')

    def _norm(self, name: str, x: np.ndarray) -> np.ndarray:
        return _layer_norm(x, self._get(f'{name}.weight'), self._get(f'{name}.bias'), self._epsilon)

    def _attention(self, name: str, x: np.ndarray, mask: np.ndarray) -> np.ndarray:
        batch, time, width = x.shape

        def heads(which: str) -> np.ndarray:  # [batch, heads, time, units]
            y = self._dense(f'{name}.{which}', x)
            return y.reshape(batch, time, self._heads, -1).transpose(0, 2, 1, 3)

        query, key, value = map(heads, ('query', 'key', 'value'))
        scores = query @ key.swapaxes(-1, -2) / math.sqrt(width // self._heads)
        scores = np.where(mask[:, None, None, :], scores, -np.inf)
        y = special.softmax(scores, axis=-1) @ value
        return y.transpose(0, 2, 1, 3).reshape(batch, time, width)

    def encode(self, tokens: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Encodes tokens [batch, time], all of the first type, to [batch, time, width]."""
        x = self._get('embeddings.word_embeddings.weight')[tokens]
        x = x + self._get('embeddings.position_embeddings.weight')[: tokens.shape[1]]
        x = x + self._get('embeddings.token_type_embeddings.weight')[0]
        x = self._norm('embeddings.LayerNorm', x)
        for i in range(self._layers):
            layer = f'encoder.layer.{i}'
            y = self._attention(f'{layer}.attention.self', x, mask)
            y = self._dense(f'{layer}.attention.output.dense', y)
            x = self._norm(f'{layer}.attention.output.LayerNorm', x + y)
            y = _gelu(self._dense(f'{layer}.intermediate.dense', x))
            y = self._dense(f'{layer}.output.dense', y)
            x = self._norm(f'{layer}.output.LayerNorm', x + y)
        return x

    def embed(self, tokens: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """Means over the valid steps, normalized to length one: [batch, width]."""
        y = np.sum(self.encode(tokens, mask) * mask[..., None], axis=1) / mask.sum(1, keepdims=True)
        return y / np.linalg.norm(y, axis=-1, keepdims=True)
