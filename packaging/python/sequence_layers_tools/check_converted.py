"""Loads a model that was converted from the reference and compares the two on random input."""

import dataclasses
import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import sequence_layers_runtime as runtime
from sequence_layers_runtime import abi, arrays
from sequence_layers_tools import python_311  # noqa: F401

# Imported after python_311, which makes the reference importable on Python 3.11.
from sequence_layers import jax as sl  # isort: skip

TOLERANCE = 1e-4
HALF_TOLERANCE = 5e-2
_MIN_TIME = 24
_CONSTANT_TIME = 6


class CheckError(Exception):
    """The written model is not the expected one, or cannot be compared with it."""


@dataclasses.dataclass(frozen=True)
class Report:
    """Largest differences relative to the largest value: to the reference, and of steps."""

    layer_wise: float
    step_wise: float | None
    tolerance: float

    def __str__(self) -> str:
        text = f'largest difference from the reference {self.layer_wise:.1e} of the largest value'
        if self.step_wise is None:
            return text + ', layer-wise only'
        text += f', of steps from a whole run {self.step_wise:.1e}'
        if self.step_wise > self.tolerance:
            text += ': docs/streaming.md says when they differ, as the reference does too'
        return text


def constant_specs(constants: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    """Sequences without values, of shapes [time, ...], for the reference to trace."""
    return {
        name: sl.Sequence(
            jax.ShapeDtypeStruct((1, *shape), np.float32),
            jax.ShapeDtypeStruct((1, *shape[:1]), np.bool_),
        )
        for name, shape in constants.items()
    }


def _fields(config: Any, *names: str) -> Iterator[Any]:
    """Values of all fields with these names in a config, at any depth."""
    if isinstance(config, list):
        for item in config:
            yield from _fields(item, *names)
    if isinstance(config, dict):
        for name, value in config.items():
            if name in names:
                yield value
            yield from _fields(value, *names)


def _random(shape: tuple[int, ...], dtype: str, below: int, rng: np.random.Generator) -> np.ndarray:
    element = arrays.numpy_dtype(arrays.dtype_index(dtype))
    if dtype in ('int32', 'int8'):
        return rng.integers(0, max(below, 1), shape).astype(element)
    if dtype == 'bool':
        return rng.integers(0, 2, shape).astype(element)
    if dtype == 'complex64':
        return (rng.standard_normal(shape) + 1j * rng.standard_normal(shape)).astype(element)
    return rng.standard_normal(shape).astype(element)


def _constants(
    layer: runtime.Layer,
    given: Mapping[str, tuple[int, ...]],
    batch: int,
    time: int,
    below: int,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Random constants: those that the model needs, and those with a given shape."""
    constants = {}
    for info in layer.constants:
        if info.name not in given and not info.required:
            continue
        shape = given.get(info.name)
        if shape is None:
            if info.shape is None or -1 in info.shape:
                raise CheckError(
                    f'the model does not say which shape its constant "{info.name}" has: give'
                    f' --constant {info.name}=TIME,CHANNELS'
                )
            steps = time if info.streamed else _CONSTANT_TIME
            shape = info.shape if info.kind == 'array' else (steps, *info.shape)
        values = _random((batch, *shape), info.dtype or 'float32', below, rng)
        constants[info.name] = arrays.Array(values) if info.kind == 'array' else values
    return constants


def _reference_run(
    config: Any,
    variables: Mapping[str, Any],
    x: np.ndarray,
    mask: np.ndarray,
    constants: Mapping[str, Any],
) -> tuple[np.ndarray, np.ndarray]:
    def constant(value: Any) -> Any:
        if isinstance(value, arrays.Array):
            return jnp.asarray(value.values)
        return sl.Sequence.from_values(jnp.asarray(value))

    layer = config.make()

    @jax.jit
    def run(variables, values, mask, constants):
        x = sl.Sequence(values, mask)
        y = layer.apply(variables, x, training=False, constants=constants, method='layer')
        return y.values, y.mask

    given = {name: constant(value) for name, value in constants.items()}
    with jax.default_matmul_precision('highest'):
        values, mask = run(variables, jnp.asarray(x), jnp.asarray(mask), given)
    return np.asarray(values), np.asarray(mask)


def _difference(
    got: tuple[np.ndarray, np.ndarray], want: tuple[np.ndarray, np.ndarray], what: str
) -> float:
    """The largest difference at valid steps, relative to the largest value."""
    (got, got_mask), (want, want_mask) = got, want
    if got.shape != want.shape or got.dtype != want.dtype:
        raise CheckError(
            f'{what}: {got.dtype} {list(got.shape)}, not {want.dtype} {list(want.shape)}'
        )
    if not np.array_equal(got_mask, want_mask):
        raise CheckError(f'{what}: other steps are valid')
    wide = np.complex128 if np.iscomplexobj(want) else np.float64
    got, want = got[want_mask].astype(wide), want[want_mask].astype(wide)
    same = (got == want) | (np.isnan(got) & np.isnan(want))
    finite = np.isfinite(want)
    largest = np.abs(want[finite]).max(initial=0)
    with np.errstate(invalid='ignore', over='ignore'):
        difference = np.where(same, 0, np.abs(got - want)).max(initial=0)
    if not difference:
        return 0.0
    # If only one of the values is finite, the difference is not a number.
    return float(difference / largest) if largest and np.isfinite(difference) else float('inf')


def _open(directory: pathlib.Path) -> runtime.Layer:
    try:
        abi.load()
    except OSError as error:
        raise CheckError(
            f'the library is not there to load the model ({error}): name its file in'
            ' SEQUENCE_LAYERS_LIBRARY, or write the model unseen with --no-verify'
        ) from error
    try:
        return runtime.Layer.open(directory)
    except runtime.SequenceLayersError as error:
        text = str(error).replace(f'{directory}/', '')
        hint = '; if your program registers it, give --no-verify' if 'unknown layer type' in text else ''
        raise CheckError(f'the library refuses the converted model: {text}{hint}') from error


def _input(
    layer: runtime.Layer, config: Mapping[str, Any], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, int]:
    """Random values, a mask with several lengths, and the upper limit of integers."""
    channel_shape, dtype = layer.input_spec
    tables = [v for v in _fields(config, 'num_embeddings', 'depth') if isinstance(v, int)]
    below = min(tables, default=16)
    blocks = max(3, -(-_MIN_TIME // layer.block_size))
    time = blocks * layer.block_size
    lengths = np.array([time, max(1, time - layer.block_size), max(1, time // 2)])
    mask = np.arange(time) < lengths[:, np.newaxis]
    return _random((3, time, *channel_shape), dtype, below, rng), mask, below


def check(
    directory: pathlib.Path,
    config: Any,
    variables: Mapping[str, Any],
    written: Mapping[str, Any],
    constants: Mapping[str, tuple[int, ...]],
    tolerance: float,
) -> Report:
    """Compares a model directory with the config and variables of the reference from which it was made.

    Raises:
      CheckError: The directory does not load, or holds another model.
    """
    layer, rng = _open(directory), np.random.default_rng(0)
    x, mask, below = _input(layer, written, rng)
    given = _constants(layer, constants, x.shape[0], x.shape[1], below, rng)
    try:
        want = _reference_run(config, variables, x, mask, given)
    except Exception as error:  # the reference raises types of many packages
        reason = ' '.join(str(error).split())
        raise CheckError(
            f'the reference itself does not run the model ({type(error).__name__}: {reason[:300]}):'
            ' give --constant if it needs one, or write the model unseen with --no-verify'
        ) from error
    text = json.dumps(written)
    if 'float16' in text or 'float16' in str(x.dtype):
        tolerance = max(tolerance, HALF_TOLERANCE)
    try:
        got = layer.apply(x, mask, constants=given)
        # The comparison is written so that a NaN fails too.
        whole = _difference(got, want, 'the converted model gives')
        if not whole <= tolerance:
            raise CheckError(
                f'the converted model gives other numbers than the reference: a difference of'
                f' {whole:.1e} of the largest value, above the tolerance of {tolerance:.0e}'
                ' (--tolerance)'
            )
        steps = None
        if layer.supports_step:
            streamed = layer.stream(x, mask, constants=given)
            steps = _difference(streamed, got, 'in steps the converted model gives')
    except runtime.SequenceLayersError as error:
        raise CheckError(f'the converted model does not run: {error}') from error
    return Report(whole, steps, tolerance)
