"""The package magenta_rt and its own copy of sequence_layers. Import it before sequence_layers.

Needs requirements-reference.txt, and the package in the path (packaging/setup.sh --magenta).
"""

import importlib.util
import pathlib
import sys

from sequence_layers_tools import python_311  # noqa: F401


def _use_own_sequence_layers() -> None:
    """Lets the package find the revision of sequence_layers that it contains."""
    found = importlib.util.find_spec('magenta_rt')
    if found is None or found.origin is None:
        raise ImportError(
            'there is no package magenta_rt: packaging/setup.sh --magenta installs it'
        )
    own = pathlib.Path(found.origin).parent / '_vendor' / 'sequence-layers'
    if own.is_dir() and 'sequence_layers' not in sys.modules:
        sys.path.insert(0, str(own))


_use_own_sequence_layers()

from magenta_rt import config  # noqa: E402, F401
from magenta_rt.jax import depthformer, model, spectrostream, transformer  # noqa: E402, F401
