"""Functions of the JAX reference's configs by name (docs/layers/README.md), and the names of functions.

A function without a name, such as `lambda x: jnp.where(x > 0, x, 0.2 * x)`, is recognized by its
results. Needs the reference: requirements-reference.txt.
"""

import functools
import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

# Imported after python_311, which makes the reference importable on Python 3.11.
from sequence_layers_tools import python_311  # noqa: F401 # isort: skip
from sequence_layers.jax import signal  # isort: skip

_NN = (
    'celu elu gelu hard_sigmoid hard_silu hard_swish hard_tanh identity leaky_relu log_sigmoid mish '
    'relu relu6 selu sigmoid silu soft_sign softplus sparse_plus sparse_sigmoid squareplus swish tanh '
    'log1mexp'
).split()
# Functions of rows, which lie along one axis or several.
_ROW = 'log_softmax softmax standardize'.split()
_NUMPY = 'abs ceil cos exp floor log round sign sin square tanh'.split()
_FUNCTIONS = {name: getattr(jax.nn, name) for name in _NN}
_ROW_FUNCTIONS = {name: getattr(jax.nn, name) for name in _ROW}
_FUNCTIONS |= {name: getattr(jnp, name) for name in _NUMPY if name not in _FUNCTIONS}
_OTHER_NAMES = {jnp.tanh: 'tanh', jax.lax.logistic: 'sigmoid', jax.scipy.special.expit: 'sigmoid'}
_WINDOWS = {
    name.removesuffix('_window'): function
    for name, function in inspect.getmembers(signal, callable)
    if name.endswith('_window') and not name.startswith(('_', 'get_'))
}
# Parameters of functions, and how to find each from values of the function.
_PARAMETERS = {
    'leaky_relu': ('negative_slope', lambda f: -f(-1.0)),
    'elu': ('alpha', lambda f: -f(-80.0)),
    'celu': ('alpha', lambda f: -f(-1e4)),
    'squareplus': ('b', lambda f: 4 * f(0.0) ** 2),
}


def known() -> list[str]:
    """The names of functions and windows in configs."""
    return sorted(_FUNCTIONS | _ROW_FUNCTIONS | _WINDOWS)


def elementwise() -> dict[str, Callable]:
    """Functions of single numbers by name."""
    return dict(_FUNCTIONS)


def function(name: str) -> Callable:
    return (_FUNCTIONS | _ROW_FUNCTIONS)[name]


def window(name: str) -> Callable:
    return _WINDOWS[name]


def from_call(call: Mapping[str, Any]) -> Callable:
    """The function that `{"function": name, parameter: value}` describes."""
    if call['function'] == 'inverse_stft':
        forward = call.get('forward_window_fn', 'hann')
        forward = window(forward) if isinstance(forward, str) else from_call(forward)
        return signal.inverse_stft_window_fn(call['frame_step'], forward)
    target = (_FUNCTIONS | _ROW_FUNCTIONS | _WINDOWS)[call['function']]
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in call.items() if k != 'function'}
    return functools.partial(target, **given)


def _name(function: Callable) -> str | None:
    for name, found in (_FUNCTIONS | _ROW_FUNCTIONS | _WINDOWS).items():
        if function is found:
            return name
    return next((name for other, name in _OTHER_NAMES.items() if function is other), None)


def named(function: Callable) -> str | dict[str, Any] | None:
    """The name of a function, or a call of a named function with parameters, or None."""
    if not isinstance(function, functools.partial):
        return _name(function) or _inverse_window(function)
    name = _name(function.func)
    if name is None:
        return None
    signature = inspect.signature(function.func)
    given = signature.bind_partial(*function.args, **function.keywords).arguments
    if given.get('axis', -1) is None:
        return None  # all axes, batch and time too
    return {'function': name, **{k: list(v) if isinstance(v, tuple) else v for k, v in given.items()}}


def _inverse_window(function: Callable) -> dict[str, Any] | None:
    """The call of signal.inverse_stft_window_fn that made the function, or None."""
    if getattr(function, '__qualname__', '').partition('.')[0] != 'inverse_stft_window_fn':
        return None
    given = inspect.getclosurevars(function).nonlocals
    forward = named(given['forward_window_fn'])
    if forward is None:
        return None
    step = given['frame_step']
    return {'function': 'inverse_stft', 'frame_step': step, 'forward_window_fn': forward}


# Two shapes: a function that moves axes may leave the order of elements in one of them.
_SHAPES = (4, 5, 39), (2, 2, 5, 3, 13)


def _samples() -> np.ndarray:
    """Numbers of all magnitudes at which elementwise functions differ."""
    small = np.linspace(-9, 9, 719)
    large = np.geomspace(10, 1e4, 20)
    tiny = np.geomspace(1e-4, 0.02, 10)
    return np.concatenate([small, large, -large, tiny, -tiny, [0]]).astype(np.float32)


def _given(function: Callable, x: np.ndarray) -> np.ndarray | None:
    """The function's value for each number; None if it cannot be elementwise."""
    found = []
    for shape in _SHAPES:
        try:
            y = np.asarray(function(jnp.asarray(x).reshape(shape)))
        except Exception:  # user code may raise anything for such a shape
            return None
        if y.shape != shape or y.dtype != np.float32:
            return None
        found.append(y.ravel())
    return found[0] if _agree(*found) else None


def _agree(got: np.ndarray | None, want: np.ndarray) -> bool:
    return got is not None and np.allclose(got, want, rtol=2e-6, atol=2e-6, equal_nan=True)


def recognized(function: Callable) -> str | dict[str, Any] | None:
    """The name, or the call, of a function that gives the same values; None if there is none."""
    x = _samples()
    want = _given(function, x)
    if want is None:
        return None
    for name in _FUNCTIONS:
        if _agree(_given(_FUNCTIONS[name], x), want):
            return name
    for exact in (functools.partial(jax.nn.gelu, approximate=False),):
        if _agree(_given(exact, x), want):
            return {'function': 'gelu', 'approximate': False}

    def at(v: float) -> float:
        y = _given(function, np.full_like(x, v))
        return math.nan if y is None else float(y[0])

    for name, (parameter, estimate) in _PARAMETERS.items():
        # Rounded, as a parameter with few digits is found with the rounding error of float32.
        value = float(f'{estimate(at):.6g}')
        call = {'function': name, parameter: value}
        if math.isfinite(value) and value != 0 and _agree(_given(from_call(call), x), want):
            return call
    return None
