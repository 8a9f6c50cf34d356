"""Runs a model on all WAV files of a directory with Ray Data, one worker for each core.

  python batch_ray.py MODEL DIRECTORY OUT [--workers 2]

Writes OUT/<name>.npy for DIRECTORY/<name>.wav. Needs the packages sequence-layers-runtime and ray[data]. On a cluster, MODEL,
DIRECTORY and OUT are paths that all nodes see, and `ray.init(address='auto')` joins it.
"""

import pathlib
from typing import Any

import numpy as np
import ray
import wav_model


class Runner:
    """An actor: it opens the model when it starts, and keeps it for all of its files."""

    def __init__(self, model: str, out: str):
        self._model, self._out = model, pathlib.Path(out)
        wav_model.model(model)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        name = pathlib.Path(row['path']).stem
        y = wav_model.run(self._model, row['bytes'])
        np.save(self._out / f'{name}.npy', y)
        return {'name': name, 'steps': y.shape[1]}


def main() -> None:
    args = wav_model.arguments(__doc__)

    # One core more than the workers have: the readers of the files need one too.
    ray.init(num_cpus=args.workers + 1, include_dashboard=False, log_to_driver=False)
    files = ray.data.read_binary_files(
        [str(path.absolute()) for path in sorted(args.directory.glob('*.wav'))],
        include_paths=True,
        override_num_blocks=args.workers,
    )
    done = files.map(
        Runner,
        fn_constructor_args=(str(args.model.absolute()), str(args.out.absolute())),
        compute=ray.data.ActorPoolStrategy(size=args.workers),
        num_cpus=1,
    )
    for row in sorted(done.take_all(), key=lambda row: row['name']):
        print(f'{row["name"]}: {row["steps"]} steps')
    ray.shutdown()


if __name__ == '__main__':
    main()
