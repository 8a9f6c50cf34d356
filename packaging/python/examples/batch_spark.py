"""Runs a model on all WAV files of a directory with Spark, one Python worker for each core.

  python batch_spark.py MODEL DIRECTORY OUT [--workers 2]

Writes OUT/<name>.npy for DIRECTORY/<name>.wav. Needs the packages sequence-layers-runtime and pyspark, and Java 17. On a cluster,
leave out `master`, use spark-submit --py-files wav_model.py, and give paths that all nodes see.
"""

import os
import pathlib
import sys
from collections.abc import Iterable, Iterator

import numpy as np
import wav_model
from pyspark.sql import Row, SparkSession


def run_files(rows: Iterable[Row], model: str, out: str) -> Iterator[tuple[str, int]]:
    """Runs the model on the files of one partition, in a Python worker of Spark's."""
    for row in rows:
        name = pathlib.PurePosixPath(row.path).stem
        y = wav_model.run(model, bytes(row.content))
        np.save(pathlib.Path(out) / f'{name}.npy', y)
        yield name, y.shape[1]


def main() -> None:
    args = wav_model.arguments(__doc__)

    # Workers run on the Python of this program.
    os.environ.setdefault('PYSPARK_PYTHON', sys.executable)
    spark = (
        SparkSession.builder.master(f'local[{args.workers}]')
        .appName('sequence-layers')
        .config('spark.ui.enabled', 'false')
        .getOrCreate()
    )
    spark.sparkContext.addPyFile(wav_model.__file__)
    model, out = str(args.model.absolute()), str(args.out.absolute())
    files = spark.read.format('binaryFile').option('pathGlobFilter', '*.wav')
    done = (
        files.load(args.directory.absolute().as_uri())
        .select('path', 'content')
        .repartition(args.workers)
        .rdd.mapPartitions(lambda rows: run_files(rows, model, out))
        .collect()
    )
    for name, steps in sorted(done):
        print(f'{name}: {steps} steps')
    spark.stop()


if __name__ == '__main__':
    main()
