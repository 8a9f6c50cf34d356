"""Exports small PyTorch modules by both of PyTorch's exporters, as graphs for tests.

  python packaging/python/tests/importing/make_graphs.py

Each module has one pattern that exporters write in their own way. The files are committed, so that the
tests need no PyTorch. What exists is left as it is. This script needs requirements-import.txt.
"""

import io
import os
import pathlib
import sys
import warnings
from collections.abc import Callable

import onnx

# The libraries of CUDA that stand beside PyTorch may lack symbols, of functions that are never called.
sys.setdlopenflags(os.RTLD_LAZY)
import torch  # noqa: E402
from torch import Tensor, nn  # noqa: E402
from torch.nn import functional  # noqa: E402

FOLDER = pathlib.Path(__file__).parent / 'graphs'


class Fn(nn.Module):
    """A module of a function and submodules."""

    def __init__(self, function: Callable[..., Tensor], **parts: nn.Module):
        super().__init__()
        self.function, self.parts = function, nn.ModuleDict(parts)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, **self.parts)


def residual(*layers: nn.Module) -> nn.Module:
    return Fn(lambda x, inner: x + inner(x), inner=nn.Sequential(*layers))


class Rnn(nn.Module):
    def __init__(self, rnn: nn.Module):
        super().__init__()
        self.rnn = rnn

    def forward(self, x: Tensor) -> Tensor:
        return self.rnn(x)[0]


class Transposed(nn.Module):
    """Runs a module of [batch, channels, time] on [batch, time, channels]."""

    def __init__(self, *inner: nn.Module):
        super().__init__()
        self.inner = nn.Sequential(*inner)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x.transpose(1, 2)).transpose(1, 2)


class Causal(nn.Module):
    """A convolution that pads both sides, and cuts the end (TCN)."""

    def __init__(self, cut: bool):
        super().__init__()
        self.cut = cut
        self.conv = nn.Conv1d(4, 6, 3, dilation=2, padding=4 if cut else 0)

    def forward(self, x: Tensor) -> Tensor:
        if self.cut:
            return self.conv(x)[:, :, :-4]
        return self.conv(functional.pad(x, (4, 0)))


class Attention(nn.Module):
    def __init__(self, causal: bool, rope: bool = False):
        super().__init__()
        self.causal, self.rope = causal, rope
        self.qkv, self.out = nn.Linear(8, 24), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        batch, time, _ = x.shape
        q, k, v = (t.reshape(batch, time, 2, 4).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))
        scores = q @ k.transpose(-2, -1) / 2.0
        if self.causal:
            mask = torch.ones(time, time, dtype=torch.bool).tril()
            scores = scores.masked_fill(~mask, float('-inf'))
        y = scores.softmax(-1) @ v
        return self.out(y.transpose(1, 2).reshape(batch, time, 8))


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = nn.Conv1d(2, 4, 4, stride=2), nn.Conv1d(4, 6, 4, stride=2)
        self.up2 = nn.ConvTranspose1d(6, 4, 2, stride=2)
        self.up1 = nn.ConvTranspose1d(8, 2, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        first = self.down1(functional.pad(x, (2, 0))).relu()
        second = self.down2(functional.pad(first, (2, 0))).relu()
        up = self.up2(second)
        return self.up1(torch.cat([up, first], 1))


def cases() -> dict[str, tuple[nn.Module, tuple[int, ...], int]]:
    """Module, shape of its input and time axis by name."""
    bn = nn.BatchNorm1d(6)
    bn.running_mean, bn.running_var = torch.rand(6), torch.rand(6) + 0.5
    bn2 = nn.BatchNorm2d(3)
    bn2.running_mean, bn2.running_var = torch.rand(3), torch.rand(3) + 0.5
    sequence, channels, image = (2, 12, 8), (2, 4, 32), (2, 1, 32, 6)
    return {
        'mlp': (nn.Sequential(nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 3)), sequence, 1),
        'gelu': (nn.Sequential(nn.Linear(8, 6), nn.GELU()), sequence, 1),
        'gelu_tanh': (nn.GELU(approximate='tanh'), sequence, 1),
        'silu': (nn.SiLU(), sequence, 1),
        'mish': (nn.Mish(), sequence, 1),
        'hard': (nn.Sequential(nn.Hardswish(), nn.Hardsigmoid(), nn.Hardtanh(0, 0.5)), sequence, 1),
        'elu': (nn.Sequential(nn.ELU(), nn.LeakyReLU(0.2), nn.SELU(), nn.Softplus()), sequence, 1),
        'prelu': (nn.PReLU(4), channels, 2),
        'glu': (nn.GLU(-1), sequence, 1),
        'layer_norm': (nn.LayerNorm(8), sequence, 1),
        'rms_norm': (nn.RMSNorm(8, eps=1e-5), sequence, 1),
        'l2_norm': (Fn(lambda x: functional.normalize(x, dim=-1)), sequence, 1),
        'softmax': (nn.Softmax(-1), sequence, 1),
        'log_softmax': (nn.LogSoftmax(-1), sequence, 1),
        'conv': (nn.Conv1d(4, 6, 3), channels, 2),
        'conv_bn': (nn.Sequential(nn.Conv1d(4, 6, 3), bn, nn.ReLU()), channels, 2),
        'conv_same': (nn.Conv1d(4, 6, 5, padding=2), channels, 2),
        'conv_stride': (nn.Conv1d(4, 6, 5, stride=2, padding=2), channels, 2),
        'conv_padded': (Causal(cut=False), channels, 2),
        'conv_cut': (Causal(cut=True), channels, 2),
        'conv_depthwise': (nn.Conv1d(4, 8, 3, groups=4), channels, 2),
        'conv_groups': (nn.Conv1d(4, 6, 3, groups=2), channels, 2),
        'conv_transposed': (Transposed(nn.Conv1d(8, 6, 3, padding=1)), sequence, 1),
        'conv2d': (nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), bn2, nn.ReLU()), image, 2),
        'conv2d_last': (nn.Conv2d(1, 3, (3, 4), stride=(2, 1)), (2, 1, 6, 32), 3),
        'conv2d_flat': (
            Fn(lambda x, c, f: f(c(x).transpose(1, 2).flatten(2)),
               c=nn.Conv2d(1, 3, 3, padding=1), f=nn.Linear(18, 5)), image, 2),
        'max_pool': (nn.MaxPool1d(2), channels, 2),
        'avg_pool2d': (nn.AvgPool2d((2, 3)), image, 2),
        'up_nearest': (nn.Upsample(scale_factor=2), channels, 2),
        'up_transposed': (nn.ConvTranspose1d(4, 3, 2, stride=2), channels, 2),
        'lstm': (Rnn(nn.LSTM(8, 5, batch_first=True)), sequence, 1),
        'lstm_two': (Rnn(nn.LSTM(8, 5, num_layers=2, batch_first=True)), sequence, 1),
        'lstm_bidirectional': (Rnn(nn.LSTM(8, 5, batch_first=True, bidirectional=True)), sequence, 1),
        'gru': (Rnn(nn.GRU(8, 5, batch_first=True)), sequence, 1),
        'rnn': (Rnn(nn.RNN(8, 5, batch_first=True)), sequence, 1),
        'residual': (nn.Sequential(residual(nn.LayerNorm(8), nn.Linear(8, 8)),
                                   residual(nn.Linear(8, 4), nn.Tanh(), nn.Linear(4, 8))),
                     sequence, 1),
        'dense_net': (Fn(lambda x, a, b: torch.cat(
            [x, a(x), b(torch.cat([x, a(x)], -1))], -1), a=nn.Linear(8, 2), b=nn.Linear(10, 3)),
            sequence, 1),
        'gated': (Fn(lambda x, a, b: a(x).tanh() * b(x).sigmoid(),
                     a=nn.Linear(8, 4), b=nn.Linear(8, 4)), sequence, 1),
        'mean_of_channels': (Fn(lambda x: x - x.mean(-1, keepdim=True)), sequence, 1),
        'heads': (Fn(lambda x: x.reshape(x.shape[0], x.shape[1], 2, 4).transpose(2, 3)), sequence, 1),
        'frames': (Fn(lambda x: x.reshape(x.shape[0], -1, 4, 8).flatten(2)), (2, 12, 8), 1),
        'unet': (UNet(), (2, 2, 48), 2),
        'attention': (Attention(causal=False), sequence, 1),
        'attention_causal': (Attention(causal=True), sequence, 1),
    }  # fmt: skip


def export(module: nn.Module, shape: tuple[int, ...], time: int, dynamo: bool) -> onnx.ModelProto:
    x, module = torch.randn(shape), module.eval()
    if dynamo:
        axes = {0: torch.export.Dim.DYNAMIC, time: torch.export.Dim.DYNAMIC}
        program = torch.onnx.export(
            module, (x,), dynamo=True, verbose=False, dynamic_shapes=(axes,)
        )
        return program.model_proto
    file = io.BytesIO()
    torch.onnx.export(
        module,
        (x,),
        file,
        dynamo=False,
        opset_version=17,
        input_names=['x'],
        output_names=['y'],
        dynamic_axes={'x': {0: 'batch', time: 'time'}},
    )
    return onnx.load_from_string(file.getvalue())


def main() -> None:
    warnings.simplefilter('ignore')
    FOLDER.mkdir(exist_ok=True)
    for name, (module, shape, time) in cases().items():
        for exporter in ('legacy', 'dynamo'):
            path = FOLDER / f'{name}.{exporter}.onnx'
            if path.exists():
                continue
            torch.manual_seed(0)
            try:
                model = export(module, shape, time, exporter == 'dynamo')
            except Exception as error:
                print(f'{name}, {exporter}: {" ".join(str(error).split())[:200]}')
                continue
            for node in model.graph.node:
                node.ClearField('doc_string')
                node.ClearField('metadata_props')
            model.graph.ClearField('metadata_props')
            for value in model.graph.value_info:
                value.ClearField('metadata_props')
            onnx.save(model, path)


if __name__ == '__main__':
    main()
