"""Tests the measurement beside other runtimes: rows with onnxruntime, and what it says of wrong outputs."""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

import numpy as np

_ROOT = pathlib.Path(__file__).parents[3]
sys.path.insert(0, str(_ROOT / 'bench'))

from peers import limits, main, report, rows  # noqa: E402


class _Fixed:
    """A library whose output is given, and which takes a given time."""

    def __init__(self, output, seconds=1.0):
        self._output, self._seconds = np.array(output, np.float32), seconds

    def outputs(self):
        return self._output

    def seconds(self, count):
        return self._seconds


def _result(**seconds):
    libraries = {
        name: {'how': '', 'seconds': [s], 'difference': 1e-7} for name, s in seconds.items()
    }
    return {'row': 'gru-64-step', 'threads': 1, 'libraries': libraries}


class CompareTest(unittest.TestCase):
    def test_a_peer_with_other_outputs_fails(self):
        row = rows.named('gru-64-step')
        runners = {
            'ours': _Fixed([1, 2]),
            'torch': _Fixed([1, 2.00001]),
            'onnxruntime': _Fixed([1, 2.1]),
            'rtneural': _Fixed([1, np.nan]),
        }
        told = {name: {} for name in runners}
        main._compare(row, runners, told)
        self.assertNotIn('failed', told['torch'])
        self.assertIn('outputs differ by 5.0e-02', told['onnxruntime']['failed'])
        self.assertIn('outputs differ by nan', told['rtneural']['failed'])

    def test_libraries_take_turns(self):
        told = {'ours': {}, 'torch': {}}
        args = argparse.Namespace(seconds=2.0, rounds=3)
        main._measure({'ours': _Fixed([1], 0.5), 'torch': _Fixed([1], 4.0)}, told, args)
        self.assertEqual(told['ours']['seconds'], [0.5] * 3)
        self.assertEqual(told['torch']['seconds'], [4.0] * 3)


class LimitsTest(unittest.TestCase):
    def test_reading_in_turns_leaves_out_the_start_of_threads(self):
        once = limits.reading(1 << 16, (2,))[2]
        self.assertGreater(limits.reading(1 << 16, (2,), in_turns=True)[2], 2 * once)


class ReportTest(unittest.TestCase):
    def test_the_ratio_is_that_of_the_fastest_right_peer(self):
        result = _result(ours=2e-6, onnxruntime=6e-6, rtneural=3e-6)
        self.assertAlmostEqual(report.ratio(result, 'ours'), 1.5)
        result['libraries']['rtneural']['failed'] = 'outputs differ'
        self.assertAlmostEqual(report.ratio(result, 'ours'), 3)

    def test_a_missed_goal_is_bold(self):
        limits = {'fma': 1e11}
        good = report._cells(_result(ours=2e-6, rtneural=3e-6), limits)
        self.assertEqual(good[2:6], ['2.00 us', 'rtneural 3.00 us', '1.50', '1.2'])
        missed = report._cells(_result(ours=2e-6, rtneural=1e-6), limits)
        self.assertEqual(missed[4], '**0.50**')

    def test_a_recurrent_step_shows_its_share_of_reading(self):
        result = _result(ours=2e-6) | {'reading': 1e11}
        self.assertEqual(rows.named('gru-64-step').read_bytes, 2 * 64 * 3 * 64 * 4)
        self.assertEqual(report._cells(result, {'fma': 1e11})[6], '49% of reading')

    def test_the_plot_has_a_bar_for_each_row(self):
        svg = report.plot([_result(ours=2e-6, rtneural=3e-6), _result(ours=2e-6, torch=1e-6)])
        self.assertIn('>1.50</text>', svg)
        self.assertIn('>0.50</text>', svg)


class RowsTest(unittest.TestCase):
    def test_names_are_unique(self):
        names = [row.name for row in rows.ROWS]
        self.assertEqual(len(names), len(set(names)))

    def test_patterns_find_rows(self):
        self.assertEqual([r.name for r in rows.find(['gru-64-*', 'tcn'])][-1], 'tcn')
        self.assertEqual(rows.find(['nothing']), [])


@unittest.skipUnless('SEQUENCE_LAYERS_LIBRARY' in os.environ, 'no library given')
class RunTest(unittest.TestCase):
    def test_two_rows_beside_onnxruntime(self):
        environment = {k: v for k, v in os.environ.items() if k != 'RTNEURAL_DIR'}
        command = [
            _ROOT / 'bench/run',
            '--quick',
            '--threads',
            '1',
            '--rows',
            'lstm-64-step',
            'tcn',
        ]
        command += ['--without', 'torch', 'litert']
        library = str(pathlib.Path(os.environ['SEQUENCE_LAYERS_LIBRARY']).resolve())
        run = subprocess.run(
            [*command, '--library', library],
            capture_output=True,
            text=True,
            env=environment | {'PEERS_INSTALL': '0'},
        )
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        self.assertEqual(run.stdout.count('fastest peer / ours'), 2, run.stdout)
        self.assertEqual(
            run.stdout.count('rtneural skipped: no registry has its headers'), 2, run.stdout
        )
        self.assertRegex(
            run.stdout, r'onnxruntime +[0-9.]+ us .*, outputs differ by [0-9.]+e-0[67]'
        )

    def test_no_row_is_an_error(self):
        command = [_ROOT / 'bench/run', '--quick', '--rows', 'nothing']
        environment = os.environ | {'PEERS_INSTALL': '0'}
        run = subprocess.run(command, capture_output=True, text=True, env=environment)
        self.assertEqual((run.returncode, run.stderr), (2, 'no row matches nothing\n'))

    def test_the_document_is_written_between_its_marks(self):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            page = folder / 'page.md'
            page.write_text(f'before\n{report.BEGIN}\nold\n{report.END}\nafter\n')
            result = _result(ours=2e-6, rtneural=3e-6) | {'date': '2026-01-01'}
            (folder / 'gru-64-step-1.json').write_text(json.dumps(result))
            found = {'fma': 1e11, 'cpu': 'a CPU', 'reading': {'1': 2e10}}
            (folder / 'limits.json').write_text(json.dumps(found))
            report.write(folder, page, folder)
            text = page.read_text()
            plot, summary = (folder / name for name in ('benchmarks.svg', 'speed.svg'))
            self.assertIn('GRU 64, step', plot.read_text())
            self.assertNotIn('GRU 64, step', summary.read_text())
        self.assertTrue(text.startswith(f'before\n{report.BEGIN}\na CPU'), text)
        self.assertTrue(text.endswith(f'{report.END}\nafter\n'), text)
        self.assertIn('| GRU 64, step | 1 | 2.00 us | rtneural 3.00 us | 1.50 | 1.2 |', text)
        self.assertNotIn('old', text)


if __name__ == '__main__':
    unittest.main()
