"""Makes the data that every binding's tests run on: build/suite, as packaging/bindings/README.md says.

  python packaging/bindings/make_suite.py --vad MODEL --silero DIRECTORY --speech SPEECH.wav \\
      --overhead PROGRAM --out build/suite

MODEL is the converted Silero VAD, DIRECTORY the unpacked wheel of its original, PROGRAM what
overhead.c compiles to.
"""

import argparse
import json
import pathlib
import re
import shutil
import subprocess
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from sequence_layers_benches import reference_vad
from sequence_layers_tools import silero_vad, wav

Json = dict[str, Any]

RECORDED = pathlib.Path(__file__).parent / 'recorded'
# The lines SL_STATUS(Name, C_NAME, value, name).
_STATUS_LIST = pathlib.Path('src/core/statuses.inc').read_text()
STATUSES = {
    name: int(code)
    for name, code in re.findall(r'^SL_STATUS\(\w+, (\w+), (\d+),', _STATUS_LIST, re.M)
}
# The reference and the library add in different orders.
TOLERANCE = 2e-5
VAD_TOLERANCE = 1e-4
GOLDEN_FRAMES = pathlib.Path('tests/golden/MultivariateDecoder.json')
FRAMES = 'MultivariateDecoder__codebook_logits'
NUM_STREAMS, STREAM_CHUNKS, NUM_THREADS = 100, 50, 4
TEST_GAIN = {'type': 'TestGain', 'gain': 0.5, 'name': 'gain'}


class Suite:
    """The directory that is being made."""

    def __init__(self, directory: pathlib.Path):
        self.directory = directory
        self.manifest: Json = {'format': 1}

    def tensor(self, path: str, array: np.ndarray) -> Json:
        """Writes an array as a raw file, and gives what the manifest says of it."""
        file = self.directory / f'{path}.bin'
        file.parent.mkdir(parents=True, exist_ok=True)
        array = np.asarray(array)
        array.astype(array.dtype.newbyteorder('<')).tofile(file)
        return {'file': f'{path}.bin', 'dtype': array.dtype.name, 'shape': list(array.shape)}

    def sequence(self, path: str, tensors: dict[str, np.ndarray], name: str) -> Json:
        return {
            part: self.tensor(f'{path}.{part}', tensors[f'{name}.{part}'])
            for part in ('values', 'mask')
        }

    def copy_model(self, path: str, source: pathlib.Path) -> str:
        (self.directory / path).mkdir(parents=True, exist_ok=True)
        for name in 'config.json', 'model.safetensors':
            shutil.copy(source / name, self.directory / path / name)
        return path

    def model(self, path: str, config: Any) -> str:
        """Writes a model without weights; a config that is text is written as it is."""
        (self.directory / path).mkdir(parents=True, exist_ok=True)
        text = config if isinstance(config, str) else json.dumps(config)
        (self.directory / path / 'config.json').write_text(text)
        return path

    def write(self) -> None:
        text = json.dumps(self.manifest, indent=1) + '\n'
        (self.directory / 'suite.json').write_text(text)


def add_vad(suite: Suite, model: pathlib.Path, silero: str, speech: str) -> np.ndarray:
    """The probabilities of speech that onnxruntime computes from the original model."""
    samples, _ = wav.read(speech)
    samples = np.pad(samples, (0, -len(samples) % silero_vad.CHUNK))
    probabilities = reference_vad.run(silero_vad.onnx_path(silero), samples)
    suite.manifest['vad'] = {
        'model': suite.copy_model('vad/model', model),
        'metadata': {'sample_rate': str(silero_vad.SAMPLE_RATE)},
        'block': silero_vad.CHUNK,
        'input': suite.tensor('vad/input', samples),
        'expected': suite.tensor('vad/expected', probabilities),
        'tolerance': VAD_TOLERANCE,
        'save_at': len(probabilities) // 2,
    }
    return samples


def add_streams(suite: Suite, silero: str, samples: np.ndarray) -> None:
    """Streams that each begin at another position of the recording."""
    chunks = len(samples) // silero_vad.CHUNK
    starts = np.arange(NUM_STREAMS) * (chunks - STREAM_CHUNKS) // NUM_STREAMS
    stream = reference_vad.Stream(silero_vad.onnx_path(silero))
    expected = np.empty((NUM_STREAMS, STREAM_CHUNKS), np.float32)
    for row, start in zip(expected, starts, strict=True):
        stream.reset()
        part = samples[start * silero_vad.CHUNK :][: STREAM_CHUNKS * silero_vad.CHUNK]
        row[:] = [stream.step(frame) for frame in reference_vad.frames(part)]
    suite.manifest['streams'] = {
        'model': 'vad/model',
        'input': suite.manifest['vad']['input'],
        'block': silero_vad.CHUNK,
        'threads': NUM_THREADS,
        'blocks': STREAM_CHUNKS,
        'starts': [int(start) * silero_vad.CHUNK for start in starts],
        'expected': suite.tensor('streams/expected', expected),
        'tolerance': VAD_TOLERANCE,
    }


def add_conformer(suite: Suite) -> None:
    tensors = load_file(RECORDED / 'conformer/reference.safetensors')
    emits = []
    for path in sorted(
        name.removesuffix('.values') for name in tensors if name.startswith('emits.')
    ):
        if path.endswith('.mask'):
            continue
        # A step of self-attention emits weights for the steps that it remembers, a whole run for all.
        stepwise = 'self_attention' not in path
        entry = {'path': path.removeprefix('emits.'), 'stepwise': stepwise}
        emits.append(entry | suite.sequence(f'conformer/{path}', tensors, path))
    suite.manifest['conformer'] = {
        'model': suite.copy_model('conformer/model', RECORDED / 'conformer'),
        'block': 2,
        'input': suite.sequence('conformer/input', tensors, 'input'),
        'constants': [
            {'name': 'control', 'kind': 'sequence', 'streamed': True}
            | suite.sequence('conformer/control', tensors, 'constants.control'),
            {'name': 'source', 'kind': 'sequence', 'streamed': False}
            | suite.sequence('conformer/source', tensors, 'constants.source'),
            {
                'name': 'speaker',
                'kind': 'array',
                'streamed': False,
                'values': suite.tensor('conformer/speaker', tensors['constants.speaker']),
            },
        ],
        'expected': suite.sequence('conformer/expected', tensors, 'output'),
        'emits': emits,
        'tolerance': TOLERANCE,
    }


def add_decoder(suite: Suite) -> None:
    tensors = load_file(RECORDED / 'decoder/reference.safetensors')
    tokens = tensors['tokens']
    # A token that is not chosen before the end, so that a stream which stops there is long enough.
    stop = next(i for i, token in enumerate(tokens) if i >= 8 and token not in tokens[:i])
    sampled = json.loads((RECORDED / 'decoder/sampled.json').read_text())
    suite.manifest['decoder'] = {
        'model': suite.copy_model('decoder/model', RECORDED / 'decoder'),
        'start_token': 1,
        'prompt': suite.tensor('decoder/prompt', tensors['prompt']),
        'greedy': {
            'tokens': suite.tensor('decoder/tokens', tokens),
            'log_probs': suite.tensor('decoder/log_probs', tensors['log_probs']),
            'tolerance': TOLERANCE * 10,
        },
        'stop': {'stop_token': int(tokens[stop]), 'pad_token': -7, 'count': stop + 1},
        'sampled': sampled,
        'slots': {
            'batches': [3, 2],
            'streams': json.loads((RECORDED / 'decoder/slots.json').read_text()),
            'script': decoder_slots_script(),
        },
    }


def add_frames(suite: Suite) -> None:
    """A decoder of several tokens a step: a golden case, and what this library draws from it."""
    [case] = (c for c in json.loads(GOLDEN_FRAMES.read_text())['cases'] if c['name'] == FRAMES)
    tensors = load_file(GOLDEN_FRAMES.with_suffix('.safetensors'))
    tensors = {key.removeprefix(f'{FRAMES}/'): value for key, value in tensors.items()}
    model = suite.model('frames/model', case['config'])
    weights = {key[8:]: value for key, value in tensors.items() if key.startswith('weights/')}
    save_file(weights, suite.directory / model / 'model.safetensors')
    recorded = json.loads((RECORDED / 'frames.json').read_text())
    tokens = np.array(recorded['tokens'], np.int32)
    time = tokens.shape[1]
    source = {
        'source.values': tensors['constants.source.values'][:, :time],
        'source.mask': np.ones(tokens.shape[:2], bool),
    }
    guided = np.array(recorded['guided'], np.int32)
    suite.manifest['frames'] = {
        'model': model,
        'constants': [
            {'name': 'source', 'kind': 'sequence', 'streamed': True}
            | suite.sequence('frames/source', source, 'source')
        ],
        'tokens': suite.tensor('frames/tokens', tokens),
        'log_probs': suite.tensor('frames/log_probs', np.array(recorded['log_probs'], np.float32)),
        'tolerance': TOLERANCE * 10,
        'guided': {
            'guidance': recorded['guidance'],
            'tokens': suite.tensor('frames/guided', guided),
        },
    }


class Script:
    """Calls on the slots of several states, or decoders, which tell of each step what it is to give.

    A step gives block `blocks[i]` of stream `streams[i]` for `slots[i]`.
    """

    def __init__(self, start: str, step: str):
        self.calls: list[Json] = []
        self._start, self._step = start, step
        # By state and slot: the stream, and the number of its next block.
        self._next: dict[tuple[int, int], tuple[int, int]] = {}

    def start(self, state: int, slot: int, stream: int) -> None:
        self.calls.append({'call': self._start, 'state': state, 'slot': slot, 'stream': stream})
        self._next[state, slot] = stream, 0

    def step(self, state: int, *slots: int) -> None:
        streams, blocks = zip(*(self._next[state, slot] for slot in slots), strict=True)
        call = {'call': self._step, 'state': state, 'slots': slots}
        self.calls.append(call | {'streams': streams, 'blocks': blocks})
        for slot, stream, block in zip(slots, streams, blocks, strict=True):
            self._next[state, slot] = stream, block + 1

    def move(self, call: str, state: int, slot: int, source: int, source_slot: int) -> None:
        """`call` is 'copy', or 'load' for what the other slot saves."""
        moved = {'call': call, 'state': state, 'slot': slot}
        self.calls.append(moved | {'from_state': source, 'from_slot': source_slot})
        self._next[state, slot] = self._next[source, source_slot]


def slots_script(num_streams: int) -> list[Json]:
    """Streams in states of 4 and 2 slots, in changing company and order."""
    script = Script('reset', 'step')
    script.start(0, 2, 0)
    script.start(0, 0, 1)
    script.step(0, 2, 0)
    script.step(0, 0)
    script.start(0, 3, 2 % num_streams)
    script.step(0, 0, 2, 3)
    script.start(0, 2, 3 % num_streams)
    script.step(0, 3, 2)
    script.move('copy', 0, 1, 0, 0)
    script.step(0, 1, 3, 0, 2)
    script.move('load', 1, 1, 0, 3)
    script.start(1, 0, num_streams - 1)
    script.step(1, 0, 1)
    for turn in range(4):
        script.step(0, 0, 1, 2, 3)
        script.step(1, turn % 2)
        script.step(0, 3, 1, 2)
        script.step(0, 2)
    script.move('copy', 0, 0, 1, 1)
    for _ in range(3):
        script.step(1, 1, 0)
        script.step(0, 3, 2, 1, 0)
    return script.calls


def add_slots(suite: Suite) -> None:
    vad, streams = suite.manifest['vad'], suite.manifest['streams']
    samples = np.fromfile(suite.directory / vad['input']['file'], np.float32)
    length = streams['blocks'] * streams['block']
    starts = streams['starts'][::20]
    x = np.stack([samples[start:][:length] for start in starts])
    y = np.fromfile(suite.directory / streams['expected']['file'], np.float32)
    y = y.reshape(streams['expected']['shape'])[::20, :, np.newaxis]
    tensors = {'x.values': x, 'x.mask': np.ones(x.shape, bool), 'y.values': y}
    tensors['y.mask'] = np.ones(y.shape[:2], bool)
    conformer = suite.manifest['conformer']
    shared = {'batches': [4, 2]}
    suite.manifest['slots'] = [
        shared
        | {
            'name': 'vad',
            'model': 'vad/model',
            'block': streams['block'],
            'channel_shape': [],
            'input': suite.sequence('slots/input', tensors, 'x'),
            'constants': [],
            'expected': suite.sequence('slots/expected', tensors, 'y'),
            'tolerance': VAD_TOLERANCE,
            'script': slots_script(len(starts)),
        },
        shared
        | {'name': 'conformer', 'channel_shape': conformer['input']['values']['shape'][2:]}
        | {key: conformer[key] for key in ('model', 'block', 'input', 'constants')}
        | {key: conformer[key] for key in ('expected', 'tolerance')}
        | {'script': slots_script(conformer['input']['values']['shape'][0])},
    ]


def decoder_slots_script() -> list[Json]:
    """Stream 2 stops early, and its slot gets a prompt anew."""
    script = Script('start', 'sample')
    script.start(0, 2, 0)
    script.step(0, 2)
    script.start(0, 0, 1)
    script.step(0, 0, 2)
    script.start(0, 1, 2)
    for _ in range(5):
        script.step(0, 1, 0, 2)
        script.step(0, 2, 1)
    script.start(0, 1, 0)
    script.step(0, 1)
    script.move('load', 1, 1, 0, 0)
    script.move('copy', 1, 0, 0, 2)
    for _ in range(4):
        script.step(0, 0, 1, 2)
        script.step(1, 1, 0)
        script.step(0, 1)
    return script.calls


def add_custom(suite: Suite) -> None:
    """TestGain: y = gain x + s, where s is the sum of the valid x of this channel so far."""
    rng = np.random.default_rng(2)
    # Quarters, so that sums are exact and the order of additions does not matter.
    values = (rng.integers(-8, 9, (2, 12, 3)) / 4).astype(np.float32)
    mask = np.arange(12) < np.array([[12], [7]])
    valid = values * mask[..., np.newaxis]
    doubled = 2 * valid
    expected = (doubled * 1.5 + np.cumsum(doubled, axis=1)) * mask[..., np.newaxis]
    config = {
        'type': 'Serial',
        'layers': [{'type': 'Scale', 'scale': 2.0}, {'type': 'Residual', 'layers': [TEST_GAIN]}],
    }
    bad = {'type': 'Residual', 'layers': [{'type': 'TestGain', 'gain': -1.0}]}
    tensors = {'x.values': values, 'x.mask': mask, 'y.values': expected, 'y.mask': mask}
    suite.manifest['custom'] = {
        'type': 'TestGain',
        'model': suite.model('custom/model', config),
        'channel_shape': [3],
        'steps': [1, 2, 4],
        'input': suite.sequence('custom/input', tensors, 'x'),
        'expected': suite.sequence('custom/expected', tensors, 'y'),
        'tolerance': 0.0,
        'error': {
            'model': suite.model('custom/bad', bad),
            'status': 'CALLBACK',
            'code': STATUSES['CALLBACK'],
            'message': 'a gain of -1 is negative',
        },
    }


def bad_configs() -> list[tuple[str, Any, str, str]]:
    """Name, config, status, part of the message."""
    return [
        ('syntax', '{"type": "Relu",}', 'CONFIG', '$: not JSON: line 1, column 17'),
        ('unknown_type', {'type': 'Conv1d'}, 'CONFIG', 'did you mean "Conv1D"?'),
        (
            'unknown_field',
            {'type': 'Serial', 'layers': [{'type': 'Relu'}, {'type': 'Dropout', 'rat': 0.5}]},
            'CONFIG',
            '$.layers[1].rat (Dropout): unknown field; did you mean "rate"?',
        ),
        ('missing_field', {'type': 'Serial'}, 'CONFIG', 'the required field "layers"'),
        ('wrong_type', {'type': 'Delay', 'length': 'two'}, 'CONFIG', '$.length (Delay): expected an integer'),
        ('impossible', {'type': 'Delay', 'length': -1}, 'CONFIG', 'expected at least 0, got -1'),
        ('no_weights', {'type': 'Serial', 'layers': [{'type': 'Dense', 'features': 4}]}, 'WEIGHTS', 'kernel'),
        ('unicode', '{"type": "Relu", "name": "ö", "näme": 1}', 'CONFIG', 'näme'),
    ]  # fmt: skip


def bad_calls() -> list[Json]:
    """Calls on models of the suite; see README.md for their fields."""
    stream = {'batch': 1, 'channel_shape': [], 'dtype': 'float32'}
    return [
        {
            'name': 'state_channels',
            'call': 'state',
            'model': 'vad/model',
            'options': {'batch': 1, 'channel_shape': [3], 'dtype': 'float32'},
            'status': 'SHAPE',
            'message': 'channels [576, 3]',
        },
        {
            'name': 'state_dtype',
            'call': 'state',
            'model': 'decoder/model',
            'options': {'batch': 1, 'channel_shape': [], 'dtype': 'float32'},
            'status': 'SHAPE',
            'message': 'float32',
        },
        {
            'name': 'state_without_constants',
            'call': 'state',
            'model': 'conformer/model',
            'options': {'batch': 1, 'channel_shape': [8], 'dtype': 'float32'},
            'status': 'INVALID_ARGUMENT',
            'message': 'control',
        },
        {
            'name': 'step_partial_block',
            'call': 'step',
            'model': 'vad/model',
            'options': stream,
            'shape': [1, 100],
            'status': 'SHAPE',
            'message': '512',
        },
        {
            'name': 'step_too_many',
            'call': 'step',
            'model': 'vad/model',
            'options': stream,
            'shape': [1, 1024],
            'status': 'SHAPE',
            'message': '1024',
        },
        {
            'name': 'step_batch',
            'call': 'step',
            'model': 'vad/model',
            'options': stream,
            'shape': [2, 512],
            'status': 'SHAPE',
            'message': 'batch',
        },
        {
            'name': 'step_past_the_end',
            'call': 'step',
            'model': 'vad/model',
            'options': stream | {'max_length': 1024},
            'steps_before': 2,
            'shape': [1, 512],
            'status': 'LENGTH',
            'message': '1024',
        },
        {
            'name': 'apply_channels',
            'call': 'apply',
            'model': 'vad/model',
            'shape': [1, 1024, 3],
            'dtype': 'float32',
            'status': 'SHAPE',
            'message': 'channels [576, 3]',
        },
        {
            'name': 'apply_without_constants',
            'call': 'apply',
            'model': 'conformer/model',
            'shape': [2, 48, 8],
            'dtype': 'float32',
            'status': 'INVALID_ARGUMENT',
            'message': 'constant "control" is missing',
        },
        {
            'name': 'load_garbage',
            'call': 'load',
            'model': 'vad/model',
            'options': stream,
            'file': 'errors/garbage.bin',
            'status': 'STATE',
            'message': 'state',
        },
        {
            'name': 'decoder_start_token',
            'call': 'decoder',
            'model': 'decoder/model',
            'start_token': 99,
            'status': 'INVALID_ARGUMENT',
            'message': '99',
        },
    ]


def add_errors(suite: Suite) -> None:
    cases: list[Json] = [
        {
            'name': 'no_such_model',
            'call': 'open',
            'model': 'errors/nowhere',
            'status': 'IO',
            'message': 'nowhere',
        }
    ]
    for name, config, status, message in bad_configs():
        case = {'name': name, 'call': 'open', 'model': suite.model(f'errors/{name}', config)}
        cases.append(case | {'status': status, 'message': message})
    suite.copy_model('errors/damaged', RECORDED / 'decoder')
    damaged = suite.directory / 'errors/damaged/model.safetensors'
    damaged.write_bytes(damaged.read_bytes()[:1000])
    cases.append(
        {
            'name': 'damaged_weights',
            'call': 'open',
            'model': 'errors/damaged',
            'status': 'WEIGHTS',
            'message': 'model.safetensors',
        }
    )
    suite.tensor('errors/garbage', np.arange(256, dtype=np.uint8))
    cases += bad_calls()
    for case in cases:
        case['code'] = STATUSES[case['status']]
    suite.manifest['errors'] = cases


def add_overhead(suite: Suite, program: str) -> None:
    model = suite.model('overhead/model', {'type': 'Scale', 'scale': 2.0})
    printed = subprocess.run(
        [program, str(suite.directory / model)], check=True, capture_output=True, text=True
    )
    suite.manifest['overhead'] = {
        'model': model,
        'channel_shape': [],
        'steps': 20000,
        'rounds': 20,
        'c_seconds_per_step': float(printed.stdout),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--vad', required=True, type=pathlib.Path)
    parser.add_argument('--silero', required=True)
    parser.add_argument('--speech', required=True)
    parser.add_argument('--overhead', required=True)
    parser.add_argument('--out', required=True, type=pathlib.Path)
    args = parser.parse_args()
    suite = Suite(args.out)
    samples = add_vad(suite, args.vad, args.silero, args.speech)
    add_streams(suite, args.silero, samples)
    add_conformer(suite)
    add_decoder(suite)
    add_frames(suite)
    add_slots(suite)
    add_custom(suite)
    add_errors(suite)
    add_overhead(suite, args.overhead)
    suite.write()


if __name__ == '__main__':
    main()
