"""Profiles: what each layer costs in the runs that are recorded."""

import ctypes
import json
from typing import Any

from sequence_layers_runtime import abi
from sequence_layers_runtime.handles import Closable, Handle


class Profile(Closable):
    """Costs of each layer, recorded by the runs that get it as `profile`.

    Such runs take place on one thread and are slower. One thread at a time uses a profile.
    """

    def __init__(self) -> None:
        pointer = ctypes.c_void_p()
        abi.call('sl_profile_create', ctypes.byref(pointer))
        self._handle = Handle(pointer, abi.load().sl_profile_free)

    def reset(self) -> None:
        """Forgets what was recorded."""
        abi.call('sl_profile_reset', self.handle)

    def describe(self) -> list[dict[str, Any]]:
        """The layers in the order of their first calls.

        Each has 'path', 'type', 'parent' (the index of the layer that called it, None for the model),
        'calls', 'self_seconds', 'flop' and 'bytes', without those of the layers within.
        """
        text = abi.text('sl_profile_describe', self.handle)
        layers: list[dict[str, Any]] = json.loads(text)['layers']
        return layers
