"""Measures this library beside others; bench/run --help tells how."""

import argparse
import datetime
import json
import os
import pathlib
import statistics
import sys
import time
from typing import Any

import numpy as np

from peers import compiled, limits, report, rows
from peers.process import Failed, Worker
from peers.rows import Row
from peers.runner import Skipped

_ADAPTERS = {'onnxruntime': 'ort', 'torch': 'torch_peer', 'jax': 'jax_peer', 'ctranslate2': 'ct2'}
_PAUSE = 0.005  # seconds between two libraries
Runners = dict[str, Worker]


def _libraries(given: list[str]) -> dict[str, str]:
    """Paths of builds of this library by name: `ours`, or what is before `=`."""
    found = {}
    for text in given:
        name, separator, path = text.rpartition('=')
        found[name if separator else 'ours'] = str(pathlib.Path(path).resolve())
    return found


def _start(
    row: Row, threads: int, args: argparse.Namespace, log: pathlib.Path
) -> tuple[Runners, dict[str, Any]]:
    """Workers by name, this library's first, and what is known of each."""
    wanted = [
        (name, 'ours', {'SEQUENCE_LAYERS_LIBRARY': path}) for name, path in args.libraries.items()
    ]
    # The peer `states` is this library again.
    wanted += [(p, _ADAPTERS.get(p, p), wanted[0][2]) for p in row.peers if p not in args.without]
    runners, told = {}, {p: {'skipped': 'not wanted'} for p in row.peers if p in args.without}
    for name, adapter, environment in wanted:
        try:
            runners[name] = Worker(adapter, row.name, threads, environment, log)
            told[name] = {'how': runners[name].how}
        except Skipped as reason:
            told[name] = {'skipped': str(reason)}
        except Failed as reason:
            told[name] = {'failed': str(reason)}
        if 'how' not in told[name]:
            ((word, reason_text),) = told[name].items()
            print(f'  {name} {word}: {reason_text}', flush=True)
    return runners, told


def _compare(row: Row, runners: Runners, told: dict[str, Any]) -> None:
    """Notes how much outputs differ from those of this library, relative to their largest value."""
    want = None
    for name, runner in runners.items():
        try:
            got = runner.outputs().astype(np.float32)
        except Failed as reason:
            told[name]['failed'] = str(reason)
            continue
        if want is None:
            want = got
            continue
        if got.shape != want.shape:
            told[name]['failed'] = f'outputs of shape {got.shape}, not {want.shape}'
            continue
        difference = float(np.abs(got - want).max() / np.abs(want).max())
        told[name]['difference'] = difference
        if not difference <= row.tolerance:
            told[name]['failed'] = (
                f'outputs differ by {difference:.1e}, more than {row.tolerance:.0e}'
            )


def _measure(runners: Runners, told: dict[str, Any], args: argparse.Namespace) -> None:
    """Times the libraries in turns. One that ends meanwhile fails, and takes no further part."""
    counts: dict[str, int] = {}

    def timed(name: str, count: int) -> float | None:
        try:
            return runners[name].seconds(count)
        except Failed as reason:
            told[name]['failed'] = str(reason)
            counts.pop(name, None)
            return None

    for name in runners:
        told[name]['seconds'] = []
        timed(name, 1)
        once = timed(name, 1)
        if once is not None:
            counts[name] = max(1, round(args.seconds / once))
    for number in range(args.rounds):
        names = list(counts)
        for name in names if number % 2 == 0 else names[::-1]:
            time.sleep(_PAUSE)
            if (seconds := timed(name, counts[name])) is not None:
                told[name]['seconds'].append(seconds)


def _run(row: Row, threads: int, args: argparse.Namespace) -> dict[str, Any]:
    log = compiled.FOLDER / 'logs' / f'{row.name}-{threads}.txt'
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text('')
    result: dict[str, Any] = {'row': row.name, 'threads': threads, 'rounds': args.rounds}
    runners, told = _start(row, threads, args, log)
    try:
        if not set(args.libraries) <= set(runners):
            return result | {'libraries': told}
        _compare(row, runners, told)
        good = {n: r for n, r in runners.items() if 'failed' not in told[n]}
        _measure(good, told, args)
        if row.is_bound_by_reading:
            found = limits.reading(row.read_bytes, (threads,), in_turns=row.limit == 'turns')
            result['reading'] = found[threads]
    finally:
        for runner in runners.values():
            runner.close()
    return result | {'libraries': told}


def _print(row: Row, result: dict[str, Any]) -> bool:
    """Prints a result. Returns whether every library that ran gave the same outputs."""
    unit = {'us': 1e6, 'ms': 1e3, 's': 1.0}[row.unit]
    sound = True
    for name, told in result['libraries'].items():
        if times := told.get('seconds'):
            line = (
                f'{unit * statistics.median(times):10.2f} {row.unit} (best {unit * min(times):.2f})'
            )
            if 'difference' in told:
                line += f', outputs differ by {told["difference"]:.1e}'
            if row.mode == rows.STREAMS:
                line += f', {row.batch / statistics.median(times):,.0f} steps/s'
            if told['how']:
                line += f', {told["how"]}'
            print(f'  {name:<14}{line}')
        if 'failed' in told:
            print(f'  {name:<14}FAILED: {told["failed"]}')
            sound = False
    if ratio := report.ratio(result, 'ours'):
        print(f'  fastest peer / ours: {ratio:.2f} (goal {row.goal})', flush=True)
    return sound


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog='bench/run',
        description='Measures this library beside others and writes docs/benchmarks.md.',
    )
    parser.add_argument(
        '--rows', nargs='+', default=['*'], metavar='PATTERN', help='such as lstm-*-step'
    )
    parser.add_argument('--threads', nargs='+', type=int, default=[1, 2])
    parser.add_argument('--rounds', type=int, default=9)
    parser.add_argument(
        '--seconds', type=float, default=0.1, help='of one measurement in a round, about'
    )
    parser.add_argument('--quick', action='store_true', help='few short rounds, no document')
    parser.add_argument('--without', nargs='+', default=[], metavar='PEER')
    parser.add_argument(
        '--library', action='append', default=[], metavar='[NAME=]PATH',
        help='libsequence_layers.so; may be given several times, one without a name',
    )  # fmt: skip
    parser.add_argument('--list', action='store_true', help='print the rows and their peers')
    parser.add_argument(
        '--report', action='store_true', help='only write the document from earlier runs'
    )
    args = parser.parse_args()
    if args.quick:
        args.rounds, args.seconds = 3, 0.01
    default = os.environ.get('SEQUENCE_LAYERS_LIBRARY', 'build/release/libsequence_layers.so')
    args.libraries = _libraries(args.library or [default])
    return args


def _measure_rows(chosen: list[Row], args: argparse.Namespace) -> bool:
    sound = True
    (compiled.FOLDER / 'results').mkdir(parents=True, exist_ok=True)
    for row in chosen:
        for threads in (t for t in args.threads if t in row.threads):
            print(f'{row.title}, {threads} thread{"s" * (threads > 1)}', flush=True)
            result = _run(row, threads, args)
            result['date'] = datetime.date.today().isoformat()
            sound &= _print(row, result)
            if not args.quick:
                path = compiled.FOLDER / 'results' / f'{row.name}-{threads}.json'
                path.write_text(json.dumps(result, indent=1) + '\n')
    return sound


def _measure_limits(quick: bool) -> None:
    """Prints the limits of the machine and keeps them beside the results."""
    reading = limits.reading(rounds=2 if quick else 5)
    found = {'fma': limits.fma(), 'reading': reading, 'cpu': report.cpu()}
    print(f'{found["cpu"]}: {found["fma"] / 1e9:.0f} GFLOP/s of one core, reads DRAM at', end=' ')
    print(' and '.join(f'{rate / 1e9:.1f} GB/s ({n})' for n, rate in reading.items()), flush=True)
    if not quick:
        (compiled.FOLDER / 'results').mkdir(parents=True, exist_ok=True)
        (compiled.FOLDER / 'results/limits.json').write_text(json.dumps(found, indent=1) + '\n')


def main() -> int:
    args = _arguments()
    chosen = rows.find(args.rows)
    if args.list:
        for row in chosen:
            print(f'{row.name:<26}{row.title:<40}{", ".join(row.peers)}')
        return 0
    if not chosen:
        print(f'no row matches {" ".join(args.rows)}', file=sys.stderr)
        return 2
    sound = True
    if not args.report:
        _measure_limits(args.quick)
        sound = _measure_rows(chosen, args)
    if not args.quick:
        report.write(compiled.FOLDER / 'results')
    return 0 if sound else 1


if __name__ == '__main__':
    sys.exit(main())
