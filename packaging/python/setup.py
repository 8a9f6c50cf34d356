"""Names the wheel of a platform if it contains the library and the tool `sl`, and otherwise one for all platforms."""

import pathlib

from setuptools import setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.dist import Distribution

_SCRIPTS = [
    'sequence-layers-convert-silero-vad = sequence_layers_tools.silero_vad:main',
    'sequence-layers-convert = sequence_layers_tools.convert:main',
    'sl_import = sequence_layers_import.command:main',
]
_HAS_LIBRARY = pathlib.Path('sequence_layers_runtime/libsequence_layers.so.1').exists()


class _Distribution(Distribution):
    def has_ext_modules(self) -> bool:
        return _HAS_LIBRARY


class _Wheel(bdist_wheel):
    def get_tag(self) -> tuple[str, str, str]:
        # No part depends on the version of Python: the library is called by ctypes.
        return 'py3', 'none', super().get_tag()[2]


if _HAS_LIBRARY:
    _SCRIPTS.append('sl = sequence_layers_runtime.tool:main')
setup(
    distclass=_Distribution,
    cmdclass={'bdist_wheel': _Wheel},
    entry_points={'console_scripts': _SCRIPTS},
)
