"""Imports an ONNX graph as a model directory, and compares it with the original.

  sl_import model.onnx model/ --streaming

Prints the largest difference of each output from onnxruntime's, whole and streamed, what `sl verify`
says, and the speed relative to onnxruntime on one thread. Writes nothing if they disagree. A graph that
cannot be imported is refused with the node, the reason and what it would take.
"""

import argparse
import pathlib
import sys
from collections.abc import Sequence

import numpy as np

from sequence_layers_import import importing, onnx_model, torch_module
from sequence_layers_import.importing import Report
from sequence_layers_import.onnx_model import Imported
from sequence_layers_import.refusal import Refusal


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='sl_import', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        'graph',
        help='an ONNX file of opset 11 to 23, or package.module:function that returns a PyTorch'
        ' module and an example of its input',
    )
    parser.add_argument('out', type=pathlib.Path, help='the model directory to write')
    parser.add_argument('--time-axis', help='name or index of the time axis of the first input')
    parser.add_argument('--batch-axis', help='name or index of the batch axis, or none; default: 0')
    parser.add_argument('--output', action='append', default=[], help='an output; the first is y')
    parser.add_argument(
        '--fix', action='append', default=[], metavar='INPUT=VALUE',
        help='makes another input a constant: a number or a .npy file',
    )  # fmt: skip
    parser.add_argument('--mask', default='', help='an input that says which steps are valid')
    parser.add_argument(
        '--constant', action='append', default=[], metavar='INPUT',
        help='an input without time that each run gets, as the initial state of a recurrence',
    )  # fmt: skip
    parser.add_argument(
        '--repeat', action='append', default=[], metavar='INPUT',
        help="an input without time that is a part of the model's, the same at all steps",
    )  # fmt: skip
    parser.add_argument(
        '--state', action='append', default=[], metavar='INPUT=OUTPUT',
        help='makes an input that an output gives back a state of the model',
    )  # fmt: skip
    parser.add_argument(
        '--size', action='append', default=[], metavar='AXIS=NUMBER',
        help='fixes an open axis of the inputs: by name, or INPUT.1 and alike',
    )  # fmt: skip
    parser.add_argument('--streaming', action='store_true', help='the model has to step')
    parser.add_argument(
        '--steps', type=int, default=0, help='a number of steps that the graph takes'
    )
    parser.add_argument(
        '--max-steps', type=int, default=0, help='rows of tables of positions, if less than 4096'
    )
    parser.add_argument('--data', type=pathlib.Path, help='a .npy or .npz with inputs of the graph')
    parser.add_argument('--tolerance', type=float, default=1e-4, help='relative to the peak')
    parser.add_argument('--exact', action='store_true', help='compare with the graph in float64')
    parser.add_argument('--seconds', type=float, default=1.0, help='how long to measure the speed')
    parser.add_argument('--force', action='store_true', help='write what does not agree')
    return parser


def print_report(imported: Imported, report: Report) -> None:
    for output in dict.fromkeys(d.output for d in report.differences):
        for run in ('whole', 'streamed'):
            found = [d for d in report.differences if (d.output, d.run) == (output, run)]
            if found:
                worst = max(found, key=lambda d: d.relative)
                print(f'{output}, {run}: differs by at most {worst.largest:.1e}, '
                      f'{worst.relative:.1e} of the peak')  # fmt: skip
    if report.not_streamed:
        print(f'not streamed: {report.not_streamed}')
    if report.lengths:
        print(f'lengths: {report.lengths}')
    print(f'latency: {report.latency[0]} steps of input, {report.latency[1]} of output')
    print(f'sl verify: {report.checks}')
    if report.speed:
        print(f'speed: {report.speed:.2f} times onnxruntime, whole sequences, one thread')


def _pairs(option: str, arguments: Sequence[str]) -> dict[str, str]:
    for argument in arguments:
        if '=' not in argument:
            raise Refusal(f'{option} {argument} has no =', 'write it as --help says')
    return dict(argument.split('=', 1) for argument in arguments)


def _fixed(arguments: Sequence[str]) -> dict[str, np.ndarray]:
    found = {}
    for argument in arguments:
        name, _, value = argument.partition('=')
        try:
            found[name] = np.load(value) if value.endswith('.npy') else np.asarray(float(value))
        except ValueError as error:
            raise Refusal(f'--fix {argument} is no number or array', 'write INPUT=1.5') from error
    return found


def import_as(arguments: Sequence[str]) -> Imported:
    """The import that a command line asks for, without comparison."""
    return _import(_parser().parse_args(arguments))


def _import(args: argparse.Namespace) -> Imported:
    options = {
        'time_axis': args.time_axis, 'batch_axis': args.batch_axis, 'outputs': args.output,
        'streaming': args.streaming, 'mask': args.mask, 'constants': args.constant,
        'repeated': args.repeat,
        'fixed': _fixed(args.fix), 'state': _pairs('--state', args.state),
        'sizes': {name: int(size) for name, size in _pairs('--size', args.size).items()},
        'max_steps': args.max_steps,
    }  # fmt: skip
    if ':' in args.graph:
        return torch_module.import_factory(args.graph, **options)
    times = (args.steps,) if args.steps else ()
    return onnx_model.import_file(args.graph, times=times, **options)


def main(arguments: Sequence[str] | None = None) -> int:
    args = _parser().parse_args(arguments)
    try:
        imported = _import(args)
        data = [importing.read_data(imported, args.data)] if args.data else []
        report = importing.run(
            imported, args.out, data=data, tolerance=args.tolerance, force=args.force,
            streaming=args.streaming, seconds=args.seconds, exact=args.exact,
        )  # fmt: skip
    except (Refusal, OSError) as error:
        print(f'sl_import: {error}', file=sys.stderr)
        return 1
    except Exception as error:  # a user is not shown a traceback
        kind = type(error).__name__
        print(f'sl_import: the importer fails: {kind}: {error}; report this graph', file=sys.stderr)
        return 1
    print_report(imported, report)
    print(f'{args.out}: written')
    return 0


if __name__ == '__main__':
    sys.exit(main())
