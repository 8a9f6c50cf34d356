"""Compares the arrays of two directories, bit for bit: equal_npy.py DIRECTORY DIRECTORY."""

import argparse
import pathlib
import sys

import numpy as np


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('directories', type=pathlib.Path, nargs=2)
    first, second = parser.parse_args().directories
    names = sorted(path.name for path in first.glob('*.npy'))
    if not names or names != sorted(path.name for path in second.glob('*.npy')):
        print(f'{first} and {second} have other files, or none')
        return 1
    for name in names:
        a, b = np.load(first / name), np.load(second / name)
        if (a.dtype, a.shape, a.tobytes()) != (b.dtype, b.shape, b.tobytes()):
            print(f'{first / name} and {second / name} differ')
            return 1
    print(f'{len(names)} arrays are equal')
    return 0


if __name__ == '__main__':
    sys.exit(main())
