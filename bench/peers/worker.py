"""One row on one library in a process of its own: answers the lines that the driver sends.

  python -m peers.worker ADAPTER ROW THREADS [OPTIONS]

Each answer is a line of JSON. `outputs PATH` writes the outputs as .npy, `time COUNT` measures COUNT runs.
"""

import importlib
import json
import os
import sys
import traceback
from typing import Any

import numpy as np

from peers import rows
from peers.runner import Runner, Skipped


def _answer(stream: Any, **fields: object) -> None:
    stream.write(json.dumps(fields) + '\n')
    stream.flush()


def _make(adapter: str, row: str, threads: int) -> Runner:
    if threads == 1:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    runner: Runner = importlib.import_module(f'peers.{adapter}').make(rows.named(row), threads)
    return runner


def _serve(runner: Runner, answers: Any) -> None:
    for line in sys.stdin:
        command, _, argument = line.strip().partition(' ')
        if command == 'outputs':
            np.save(argument, runner.outputs())
            _answer(answers, done=True)
        elif command == 'time':
            _answer(answers, seconds=runner.seconds(int(argument)))


def main() -> None:
    adapter, row, threads = sys.argv[1:4]
    # Libraries print to stdout, which must hold answers only.
    answers = os.fdopen(os.dup(1), 'w')
    os.dup2(2, 1)
    try:
        runner = _make(adapter, row, int(threads))
        _answer(answers, ready=True, how=runner.how)
        _serve(runner, answers)
    except (Skipped, ImportError) as error:
        _answer(answers, skipped=str(error))
    except Exception as error:
        traceback.print_exc()
        _answer(answers, failed=f'{type(error).__name__}: {error}'[:400])


if __name__ == '__main__':
    main()
