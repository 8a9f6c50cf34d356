"""Runs a whole sequence through a stream, block by block, as `Layer.stream` says."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from sequence_layers_runtime import arrays
from sequence_layers_runtime.arrays import AnyArray

if TYPE_CHECKING:
    from sequence_layers_runtime.layer import Layer


def _padded(array: AnyArray, time: int) -> AnyArray:
    """The array padded to that many steps with zeros or false."""
    widths = [(0, 0)] * array.ndim
    widths[1] = (0, time - array.shape[1])
    return np.pad(array, widths)


def _sequence(values: Any, mask: Any, what: str) -> tuple[AnyArray, AnyArray]:
    values = arrays.readable(values, what)
    if values.ndim < 2:
        raise TypeError(f'{what} has {values.ndim} dimensions: expected [batch, time, ...]')
    if mask is None:
        return values, np.ones(values.shape[:2], np.bool_)
    return values, arrays.readable_mask(mask, values.shape)


class _StreamedConstant:
    """A streamed constant, cut into the parts that go with the blocks of x."""

    def __init__(self, name: str, value: Any, time: int, block: int, num_blocks: int):
        what = f'the constant {name!r}'
        self._is_array = isinstance(value, arrays.Array)
        if self._is_array:
            value = value.values
        given, given_mask = value if isinstance(value, tuple) else (value, None)
        values, mask = _sequence(given, given_mask, what)
        # The constant's steps for each block, in the proportion of the two whole lengths.
        self._share = max(1, round(values.shape[1] * block / max(time, 1)))
        length = max(num_blocks * self._share, values.shape[1])
        self._values, self._mask = _padded(values, length), _padded(mask, length)

    def block(self, index: int) -> Any:
        part = np.s_[:, index * self._share : (index + 1) * self._share]
        if self._is_array:
            return arrays.Array(self._values[part])
        return self._values[part], self._mask[part]


def _blocks_of_constants(
    layer: 'Layer', constants: Mapping[str, Any], time: int, block: int, num_blocks: int
) -> Iterator[dict[str, Any]]:
    streamed = {info.name for info in layer.constants if info.streamed}
    parts = {
        name: _StreamedConstant(name, value, time, block, num_blocks)
        for name, value in constants.items()
        if name in streamed
    }
    for index in range(num_blocks):
        yield dict(constants) | {name: part.block(index) for name, part in parts.items()}


def run(
    layer: 'Layer', values: AnyArray, mask: Any, block: int, constants: Mapping[str, Any]
) -> tuple[AnyArray, AnyArray]:
    """Streams a sequence and returns the values and the mask that a whole run gives."""
    values, mask = _sequence(values, mask, 'the input')
    time = values.shape[1]
    # An empty sequence runs one block too, for the dtype and the channels of the output.
    num_blocks = max(1, -(-(time + layer.input_latency) // block))
    x, x_mask = _padded(values, num_blocks * block), _padded(mask, num_blocks * block)
    state, out = None, []
    shares = _blocks_of_constants(layer, constants, time, block, num_blocks)
    for index, given in enumerate(shares):
        if state is None:
            state = layer.new_state(
                values.shape[0],
                max_steps=block,
                max_length=0 if layer.supports_step else num_blocks * block,
                channel_shape=values.shape[2:],
                dtype=values.dtype,
                constants=given,
            )
        part = np.s_[:, index * block : (index + 1) * block]
        out.append(state.step(x[part], x_mask[part], constants=given))
    length = layer.output_shape(values, constants=constants)[1]
    y, y_mask = (np.concatenate(parts, axis=1) for parts in zip(*out, strict=True))
    y, y_mask = (array[:, layer.output_latency :][:, :length] for array in (y, y_mask))
    # A whole run may end with invalid steps, which a stream does not output.
    return _padded(y, length), _padded(y_mask, length)
