"""The JAX reference of the same config, compiled: weights are constants of the program, states are donated."""

from collections.abc import Callable

import numpy as np

from peers.rows import Row
from peers.runner import Calls, Runner, Skipped, blocks

try:
    import jax
    import jax.numpy as jnp

    from sequence_layers_tools import convert, reference_config  # isort: skip
    from sequence_layers import jax as sl
except ImportError as error:
    raise Skipped(f'{error.name} is missing: packaging/setup.sh --reference') from error


class _Base(Calls):
    how = 'jitted'

    def __init__(self, row: Row):
        model = row.built
        self._layer = reference_config.from_json(model.config).make()
        self._variables = jax.tree.map(jnp.asarray, convert.unflatten(model.weights))


class _Whole(_Base):
    def __init__(self, row: Row):
        super().__init__(row)

        def apply(values: jax.Array) -> jax.Array:
            x = sl.Sequence.from_values(values)
            return self._layer.apply(self._variables, x, training=False, method='layer').values

        self._apply, self._x = jax.jit(apply), jnp.asarray(row.x)

    def outputs(self) -> np.ndarray:
        return np.asarray(self._apply(self._x))

    def call(self) -> Callable[[], object]:
        return lambda: self._apply(self._x).block_until_ready()


class _Steps(_Base):
    def __init__(self, row: Row):
        super().__init__(row)

        def step(values: jax.Array, state: object) -> tuple[jax.Array, object]:
            x = sl.Sequence.from_values(values)
            y, state = self._layer.apply(self._variables, x, state, training=False, method='step')
            return y.values, state

        self._step = jax.jit(step, donate_argnums=1)
        self._frames = [jnp.asarray(x) for x in blocks(row)[: row.checked]]
        self._spec = sl.ChannelSpec(row.built.channel_shape, row.x.dtype)
        self._batch = row.batch
        self._state = self._start()

    def _start(self) -> object:
        state = self._layer.apply(
            self._variables, self._batch, self._spec, training=False, method='get_initial_state'
        )
        # Copies, as each array is donated and none may be passed twice.
        return jax.tree.map(jnp.array, state)

    def outputs(self) -> np.ndarray:
        self._state, found = self._start(), []
        for x in self._frames:
            y, self._state = self._step(x, self._state)
            found.append(np.asarray(y))
        return np.concatenate(found, axis=1)

    def call(self) -> Callable[[], object]:
        def step() -> None:
            y, self._state = self._step(self._frames[0], self._state)
            y.block_until_ready()

        return step


def make(row: Row, threads: int) -> Runner:
    return (_Steps if row.is_step else _Whole)(row)
