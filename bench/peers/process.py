"""Workers as the driver sees them: processes that are stopped while another one is measured."""

import ctypes
import json
import os
import pathlib
import select
import signal
import subprocess
import tempfile
from typing import Any

import numpy as np

from peers.runner import Skipped

_ROOT = pathlib.Path(__file__).parents[2]
_DEPS = _ROOT / '.deps'
# Environments that adapters run in, if not in that of the tools.
_ENVIRONMENTS = {
    'jax_peer': 'reference-venv',
    'torch_peer': 'peers-venv',
    'litert': 'peers-venv',
    'llama': 'peers-venv',
    'ct2': 'peers-venv',
}
_PATIENCE = 900  # seconds
_PR_SET_PDEATHSIG = 1


class Failed(Exception):
    """A worker ended or answered that it failed."""


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Worker:
    """A row on one library. After its construction, and between calls, its process is stopped."""

    def __init__(
        self, adapter: str, row: str, threads: int, environment: dict[str, str], log: pathlib.Path
    ):
        name = _ENVIRONMENTS.get(adapter, 'venv')
        python = _DEPS / name / 'bin/python'
        if not python.exists():
            raise Skipped(f'.deps/{name} is missing: packaging/setup.sh installs it')
        variables = {k: v for k, v in os.environ.items() if not k.startswith('OPENBLAS_')}
        variables |= {'PYTHONPATH': f'{_ROOT / "bench"}:{_ROOT / "packaging/python"}'} | environment
        if adapter == 'jax_peer' and threads == 1:
            variables['XLA_FLAGS'] = '--xla_cpu_multi_thread_eigen=false'
        with log.open('a') as errors:
            self._process = subprocess.Popen(
                [str(python), '-m', 'peers.worker', adapter, row, str(threads)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=variables,
                preexec_fn=_die_with_parent,
            )
        try:
            self.how = str(self._read()['how'])
        except BaseException:
            self.close()
            raise
        self._process.send_signal(signal.SIGSTOP)

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], _PATIENCE)[0]:
            raise Failed(f'no answer in {_PATIENCE} s')
        line = self._process.stdout.readline()
        answer: dict[str, Any] = (
            json.loads(line) if line else {'failed': f'it ended: {self._process.wait()}'}
        )
        if 'skipped' in answer:
            raise Skipped(answer['skipped'])
        if 'failed' in answer:
            raise Failed(answer['failed'])
        return answer

    def _ask(self, command: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.send_signal(signal.SIGCONT)
        try:
            self._process.stdin.write(command + '\n')
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise Failed(f'it ended: {self._process.wait()}') from error
        answer = self._read()
        self._process.send_signal(signal.SIGSTOP)
        return answer

    def outputs(self) -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / 'outputs.npy'
            self._ask(f'outputs {path}')
            found: np.ndarray = np.load(path)
            return found

    def seconds(self, count: int) -> float:
        """Seconds of one run, of `count` in a row."""
        return float(self._ask(f'time {count}')['seconds']) / count

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
