"""Compiles the sources beside it on their first use; the results lie under build/peers."""

import ctypes
import hashlib
import os
import pathlib
import subprocess

FOLDER = pathlib.Path(__file__).parents[2] / 'build/peers'


def load(source: str, *flags: str) -> ctypes.CDLL:
    """The shared library of a C or C++ source, compiled for this machine."""
    path = pathlib.Path(__file__).parent / source
    compiler = ['c++', '-std=c++17'] if path.suffix == '.cc' else ['cc']
    command = [*compiler, '-O3', '-march=native', '-shared', '-fPIC', str(path), *flags]
    key = hashlib.sha256('\0'.join([path.read_text(), *command]).encode()).hexdigest()[:16]
    made = FOLDER / f'{path.stem}-{key}.so'
    if not made.exists():
        FOLDER.mkdir(parents=True, exist_ok=True)
        part = made.with_suffix(f'.{os.getpid()}')
        subprocess.run([*command, '-o', str(part)], check=True)
        part.rename(made)
    return ctypes.CDLL(str(made))
