"""Numbers that are added to the scores of attention by the distance from query to key (T5, MPNet, ALiBi)."""

from collections.abc import Sequence

import numpy as np

from sequence_layers_import.graph import Graph
from sequence_layers_import.refusal import Refusal

_MASKED = -1e4
# The number of distances in each direction that are looked up: those beyond have the last one's number, or go on evenly.
_FAR = 512
_FARTHEST = 4096


def has_numbers(graph: Graph, name: str) -> bool:
    """Whether a constant that is added to scores is more than a mask."""
    return any(values[values > _MASKED].any() for values in graph.folded_constants(name))


def table(graph: Graph, names: Sequence[str], factors: Sequence[float]) -> np.ndarray | None:
    """The sum of the constants, each times a factor: [2 n - 1, heads] of the distances -n + 1 to n - 1."""
    total: np.ndarray | None = None
    for name, factor in zip(names, factors, strict=True):
        made = factor * _table(graph, name)
        total = made if total is None else _sum(total, made)
    return total


def _sum(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    count = max(len(first), len(second))
    return _extended(first, count) + _extended(second, count)


def _extended(found: np.ndarray, count: int) -> np.ndarray:
    more = (count - len(found)) // 2
    return np.pad(found, ((more, more), (0, 0)), 'edge')


def _table(graph: Graph, name: str) -> np.ndarray:
    forms = [_by_distance(values) for values in graph.folded_constants(name)]
    longest = max(forms, key=len)
    times = -(-_FAR * 2 // len(longest))
    while times > 1:
        values = graph.constant_of(name, times)
        if values is not None:
            longest = _by_distance(values)
            break
        times //= 2
    for form in forms:
        cut = (len(longest) - len(form)) // 2
        if not _equal(form, longest[cut : len(longest) - cut]):
            raise _no_distances()
    return _filled(longest)


def _no_distances() -> Refusal:
    return Refusal(
        'it adds numbers to the scores of attention that depend on more than the distance of a key',
        'add a number for each distance and head',
    )


def _equal(first: np.ndarray, second: np.ndarray) -> bool:
    return bool(np.allclose(first, second, rtol=1e-5, atol=1e-6, equal_nan=True))


def _by_distance(values: np.ndarray) -> np.ndarray:
    """[distances, heads] of [..., heads, queries, keys], with NaN where all keys are masked."""
    size = values.shape[-1]
    values = np.broadcast_to(values, (*values.shape[:-2], size, size))
    values = values.reshape(-1, *values.shape[-3:]) if values.ndim > 2 else values[None, None]
    if not (values == values[:1]).all():
        raise _no_distances()
    values = np.where(values[0] > _MASKED, values[0], np.nan).astype(np.float64)
    # Softmax ignores what all keys of a query have in common: what counts is the difference from the query's own step.
    own = np.diagonal(values, axis1=1, axis2=2)[..., np.newaxis]
    values = values - (0 if np.isnan(own).any() else own)
    found = np.empty((2 * size - 1, len(values)))
    for distance in range(1 - size, size):
        along = np.diagonal(values, distance, axis1=1, axis2=2)
        known = ~np.isnan(along)
        first = np.where(
            known.any(axis=1),
            np.nan_to_num(along).max(axis=1, where=known, initial=-np.inf),
            np.nan,
        )
        spread = np.abs(along - first[:, np.newaxis])
        if (spread[known] > 1e-5 * np.maximum(1, np.abs(along[known]))).any():
            raise _no_distances()
        found[distance + size - 1] = first
    return found


def _filled(found: np.ndarray) -> np.ndarray:
    """The table without what the mask hides, to the distance behind which it is steady."""
    middle = len(found) // 2
    past, future = found[middle::-1], found[middle:]
    parts = [_steady(part) for part in (past, future)]
    count = max(map(len, parts))
    past, future = (np.pad(part, ((0, count - len(part)), (0, 0)), 'edge') for part in parts)
    return np.concatenate([past[:0:-1], future])


def _steady(part: np.ndarray) -> np.ndarray:
    """The numbers from distance 0 on, without those at the end that are equal; a slope goes on."""
    hidden = np.isnan(part).any(axis=1)
    if hidden[-1]:
        part = part[: hidden.argmax() or 1]
        return np.nan_to_num(part)
    steps = np.diff(part, axis=0)
    if len(steps) > 2 and steps.any() and np.allclose(steps, steps[0], rtol=1e-3, atol=1e-6):
        slope = (part[-1] - part[0]) / (len(part) - 1)
        return part[0] + np.arange(_FARTHEST)[:, np.newaxis] * slope
    moves = np.abs(steps).max(axis=1) > 0
    if moves[-1]:
        raise _no_distances()
    return part[: len(moves) - moves[::-1].argmax() + 1] if moves.any() else part[:1]
