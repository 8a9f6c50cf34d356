"""Cuts a WAV file into files of different lengths: cut_wav.py FILE.wav DIRECTORY --files N."""

import argparse
import pathlib

from sequence_layers_tools import wav


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('file')
    parser.add_argument('directory', type=pathlib.Path)
    parser.add_argument('--files', type=int, required=True)
    args = parser.parse_args()
    samples, rate = wav.read(args.file)
    part = len(samples) // args.files
    for index in range(args.files):
        # The lengths are no multiples of a block, so that every file ends within one.
        cut = samples[index * part :][: part - 777 * index]
        wav.write(args.directory / f'part{index:02}.wav', cut, rate)


if __name__ == '__main__':
    main()
