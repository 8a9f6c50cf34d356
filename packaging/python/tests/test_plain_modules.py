"""PyTorch modules by their tree, beside PyTorch: in the environment that has it."""

import importlib.util
import unittest
from typing import Any

import numpy as np

from sequence_layers_import import Refusal, importing, torch_module
from sequence_layers_import.plain_modules import from_module, tree_of

torch: Any = None


def setUpModule() -> None:
    global torch
    if importlib.util.find_spec('torch') is None:
        raise unittest.SkipTest('not an environment with PyTorch: .deps/zoo-venv')
    torch = torch_module.load_torch()
    torch.manual_seed(0)


def _random(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


class PlainModulesTest(unittest.TestCase):
    def _norm(self, channels: int) -> Any:
        norm = torch.nn.BatchNorm1d(channels)
        norm.running_mean, norm.running_var = torch.rand(channels), torch.rand(channels) + 0.5
        return norm

    def test_channels_first(self) -> None:
        nn = torch.nn
        module = nn.Sequential(
            nn.Conv1d(4, 6, 5, stride=2, padding=2), self._norm(6), nn.ReLU(), nn.Dropout(0.5),
            nn.Sequential(nn.Conv1d(6, 6, 3, padding='same', dilation=2, groups=2), nn.GELU()),
            nn.MaxPool1d(2), nn.AvgPool1d(3, stride=1, padding=1), nn.Upsample(scale_factor=2),
            nn.ConvTranspose1d(6, 3, 4, stride=2, padding=1), nn.LeakyReLU(0.2),
        )  # fmt: skip
        layer = from_module(module, _random(2, 4, 32))
        self.assertEqual(len(layer.fields['layers']), 10)

    def test_channels_last(self) -> None:
        nn = torch.nn
        module = nn.Sequential(
            nn.Linear(4, 6), nn.LayerNorm(6), nn.SiLU(), nn.ELU(0.5), nn.GELU(approximate='tanh'),
            nn.Linear(6, 3, bias=False), nn.Softplus(), nn.Softmax(-1),
        )  # fmt: skip
        from_module(module, _random(2, 7, 4))

    def test_recurrences(self) -> None:
        for kind in (torch.nn.LSTM, torch.nn.GRU):
            for options in ({}, {'num_layers': 2, 'bidirectional': True}, {'bias': False}):
                with self.subTest(kind=kind, options=options):
                    from_module(kind(4, 5, batch_first=True, **options), _random(2, 7, 4))

    def test_what_cannot_be_read(self) -> None:
        nn = torch.nn
        mixed = nn.Sequential(nn.Conv1d(4, 4, 3), nn.Linear(4, 4))
        for module, message in (
            (
                nn.Sequential(nn.Linear(4, 4), nn.Bilinear(4, 4, 4)),
                'Bilinear "1": what its forward',
            ),
            (mixed, r'"0" reads \[batch, channels, time\] and "1" \[batch, time, channels\]'),
            (nn.LSTM(4, 5), 'LSTM "": time is its first axis|time is its first axis'),
            (nn.Conv1d(4, 4, 3, padding=1, padding_mode='reflect'), 'pads by reflect'),
        ):
            with self.subTest(message), self.assertRaises(Refusal) as caught:
                tree_of(module)
            self.assertRegex(str(caught.exception), message)

    def test_a_module_of_its_own(self) -> None:
        class Linear(torch.nn.Linear):  # type: ignore[misc, name-defined]
            def forward(self, x: Any) -> Any:
                return 2 * super().forward(x)

        with self.assertRaisesRegex(Refusal, 'other numbers than the module'):
            from_module(Linear(4, 4), _random(1, 3, 4))


class ExportTest(unittest.TestCase):
    """Modules with a forward of their own, by PyTorch's exporters."""

    def test_a_decoder_reads_a_sequence_of_any_length(self) -> None:
        module = torch.nn.TransformerDecoderLayer(8, 2, 12, batch_first=True)
        example = {'x': _random(2, 12, 8), 'memory': _random(2, 7, 8)}
        imported = torch_module.import_module(module, example, time_axis=1, constants=['memory'])
        self.assertTrue(imported.axes['memory'].is_source)
        self.assertLess(importing.run(imported, None, seconds=0).largest, 1e-5)


if __name__ == '__main__':
    unittest.main()
