"""The command line tool `sl`, which the wheel contains beside the library, and its script."""

import os
import pathlib
import shutil
import sys

_PACKAGED = pathlib.Path(__file__).with_name('sl')


def find_tool() -> str | None:
    """The `sl` tool: that of SEQUENCE_LAYERS_TOOL, beside the library, in this package, or in the path."""
    places = [os.environ.get('SEQUENCE_LAYERS_TOOL')]
    library = os.environ.get('SEQUENCE_LAYERS_LIBRARY')
    if library:
        folder = pathlib.Path(library).absolute().parent
        places += [str(folder / 'sl'), str(folder.parent / 'bin' / 'sl')]
    places.append(str(_PACKAGED))
    return next((p for p in places if p and pathlib.Path(p).is_file()), shutil.which('sl'))


def main() -> None:
    """The script `sl` of the wheel."""
    os.execv(_PACKAGED, ['sl', *sys.argv[1:]])
