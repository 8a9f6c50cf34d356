"""Exports small PyTorch modules by both of PyTorch's exporters, as graphs for tests.

  python packaging/python/tests/importing/make_graphs.py

Each module has one pattern that exporters write in their own way. The files are committed, so that the
tests need no PyTorch. What exists is left as it is. This script needs requirements-import.txt.
"""

import inspect
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

# Interpolation as a gathering of steps and a search by divisions of integers, which the importer refuses, and a number of
# steps that the exporter fixes.
REFUSED = [('up_linear', 'dynamo'), ('buckets', 'dynamo'), ('attention_multihead', 'legacy')]
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


def rotated(x: Tensor) -> Tensor:
    """Pairs of both halves turned by angles of their positions."""
    half = x.shape[-1] // 2
    speeds = 100 ** -(torch.arange(half) / half)
    angles = torch.arange(x.shape[-2])[:, None] * speeds
    angles = torch.cat([angles, angles], -1)
    turned = torch.cat([-x[..., half:], x[..., :half]], -1)
    return x * angles.cos() + turned * angles.sin()


class Positions(nn.Module):
    """Adds rows of a table, or sines of the position."""

    def __init__(self, rows: int):
        super().__init__()
        self.table = nn.Embedding(rows, 8) if rows else None
        self.out = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        steps = torch.arange(x.shape[1])
        if self.table is not None:
            return self.out(x + self.table(steps))
        angles = steps[:, None] * 0.1 ** torch.arange(4)
        return self.out(x + torch.cat([angles.sin(), angles.cos()], -1))


class Masked(nn.Module):
    """Attention to the steps that a mask or lengths allow."""

    def __init__(self, lengths: bool):
        super().__init__()
        self.lengths, self.query, self.key = lengths, nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: Tensor, allowed: Tensor) -> Tensor:
        if self.lengths:
            allowed = torch.arange(x.shape[1])[None] < allowed[:, None]
        scores = self.query(x) @ self.key(x).transpose(1, 2)
        scores = scores.masked_fill(allowed[:, None] == 0, float('-inf'))
        return scores.softmax(-1) @ x


class Attention(nn.Module):
    def __init__(self, causal: bool, rope: bool = False):
        super().__init__()
        self.causal, self.rope = causal, rope
        self.qkv, self.out = nn.Linear(8, 24), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        batch, time, _ = x.shape
        q, k, v = (t.reshape(batch, time, 2, 4).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))
        if self.rope:
            q, k = rotated(q), rotated(k)
        scores = q @ k.transpose(-2, -1) / 2.0
        if self.causal:
            mask = torch.ones(time, time, dtype=torch.bool).tril()
            scores = scores.masked_fill(~mask, float('-inf'))
        y = scores.softmax(-1) @ v
        return self.out(y.transpose(1, 2).reshape(batch, time, 8))


class Heads(nn.Module):
    """Attention with items and heads as one axis, or by the exporters' own."""

    def __init__(self, own: bool):
        super().__init__()
        self.own, self.qkv, self.out = own, nn.Linear(8, 24), nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        batch, time, _ = x.shape
        q, k, v = (t.reshape(batch, time, 2, 4).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))
        if self.own:
            y = functional.scaled_dot_product_attention(q, k, v)
        else:
            q, k, v = (t.reshape(batch * 2, time, 4) for t in (q, k, v))
            y = torch.bmm((torch.bmm(q, k.transpose(1, 2)) / 2.0).softmax(-1), v)
            y = y.reshape(batch, 2, time, 4)
        return self.out(y.transpose(1, 2).reshape(batch, time, 8))


class Scores(nn.Module):
    """Attention with scores that a number for each distance is added to, or that are bounded."""

    def __init__(self, kind: str):
        super().__init__()
        self.kind, self.qkv, self.table = kind, nn.Linear(8, 24), nn.Embedding(11, 2)

    def forward(self, x: Tensor) -> Tensor:
        batch, time, _ = x.shape
        q, k, v = (t.reshape(batch, time, 2, 4).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))
        steps, scores = torch.arange(time), q @ k.transpose(-2, -1)
        if self.kind == 'table':
            distances = (steps[None] - steps[:, None]).clamp(-5, 5) + 5
            scores = (scores + self.table(distances).permute(2, 0, 1)) / 2.0
        elif self.kind == 'slopes':
            scores = scores / 2.0 + torch.tensor([0.5, 0.125])[:, None, None] * steps
        else:
            scores = (scores / 2.0 / 3.0).tanh() * 3.0
        if self.kind != 'table':
            mask = torch.ones(time, time, dtype=torch.bool).tril()
            scores = scores.masked_fill(~mask, float('-inf'))
        return (scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, time, 8)


class Relative(nn.Module):
    """Attention with scores that queries make of relative positions: of sinusoids that are shifted (Transformer-XL), of a
    table by distance (Shaw), or of numbers that they gate."""

    def __init__(self, kind: str):
        super().__init__()
        self.kind, self.qkv, self.positions = kind, nn.Linear(8, 24), nn.Linear(8, 8, bias=False)
        self.u, self.v = (nn.Parameter(torch.randn(2, 4)) for _ in range(2))
        self.table, self.numbers, self.gate = (
            nn.Embedding(8, 4),
            nn.Embedding(11, 2),
            nn.Linear(4, 1),
        )

    def _shifted(self, q: Tensor, time: Tensor) -> Tensor:
        steps = torch.arange(time - 1, -time, -1.0)[:, None] / 10 ** (torch.arange(4) / 2)
        keys = self.positions(torch.cat([steps.sin(), steps.cos()], 1)).reshape(1, -1, 2, 4)
        scores = (q.transpose(1, 2) + self.v).transpose(1, 2) @ keys.permute(0, 2, 3, 1)
        batch, heads, queries, count = scores.shape
        scores = functional.pad(scores, (1, 0)).view(batch, heads, count + 1, queries)
        return scores[:, :, 1:].view(batch, heads, queries, count)[..., :queries]

    def _by_distance(self, q: Tensor, time: Tensor) -> Tensor:
        steps = torch.arange(time)
        return torch.einsum(
            'bhld,lrd->bhlr', q, self.table((steps[None] - steps[:, None]).clamp(-5, 2) + 5)
        )

    def _gated(self, q: Tensor, time: Tensor) -> Tensor:
        steps = torch.arange(time)
        numbers = self.numbers((steps[None] - steps[:, None]).clamp(-5, 5) + 5).permute(2, 0, 1)
        batch = q.shape[0]
        gates = self.gate(q).sigmoid().reshape(batch * 2, -1, 1)
        return (gates * numbers.repeat(batch, 1, 1)).view(batch, 2, time, time)

    def forward(self, x: Tensor) -> Tensor:
        batch, time, _ = x.shape
        q, k, v = (t.reshape(batch, time, 2, 4).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))
        if self.kind == 'shifted':
            content = (q.transpose(1, 2) + self.u).transpose(1, 2)
            scores = (content @ k.transpose(-2, -1) + self._shifted(q, time)) / 2.0
        elif self.kind == 'gated':
            scores = q @ k.transpose(-2, -1) / 2.0 + self._gated(q, time)
        else:
            scores = q @ k.transpose(-2, -1) / 2.0 + self._by_distance(q, time) / 2.0
        if self.kind in ('causal', 'band'):
            mask = torch.ones(time, time, dtype=torch.bool).tril(2 if self.kind == 'band' else 0)
            scores = scores.masked_fill(~mask, float('-inf'))
        return (scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, time, 8)


class Rounded(nn.Module):
    """Strided convolutions of sequences that are padded up to whole windows (EnCodec), perhaps at both sides."""

    def __init__(self, mode: str, strides: tuple[int, ...] = (2, 3), ahead: bool = False):
        super().__init__()
        self.mode, self.strides, self.ahead = mode, strides, ahead
        widths = (2, 4, 3, 2)
        self.convs = nn.ModuleList(
            nn.Conv1d(widths[i], widths[i + 1], 2 * stride, stride=stride)
            for i, stride in enumerate(strides)
        )

    def forward(self, x: Tensor) -> Tensor:
        for conv, stride in zip(self.convs, self.strides, strict=True):
            after = stride // 2 if self.ahead else 0
            pads = (stride - after, after + (-x.shape[2]) % stride)
            x = conv(functional.pad(x, pads, mode=self.mode))
        return x


class Sources(nn.Module):
    """Masks of several sources, whose waves one decoder makes as items of a batch (Conv-TasNet)."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Conv1d(1, 4, 4, stride=2, bias=False)
        self.masks, self.decoder = nn.Conv1d(4, 8, 1), nn.ConvTranspose1d(4, 1, 4, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        features = self.encoder(x)
        masks = self.masks(features).sigmoid().view(x.shape[0], 2, 4, -1)
        return self.decoder((masks * features[:, None]).view(x.shape[0] * 2, 4, -1)).view(
            x.shape[0], 2, -1
        )


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 3), nn.Linear(4, 3)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        return self.first(x) * self.second(z).sigmoid()


class Source(nn.Module):
    """Each step attends to a sequence of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.both = nn.Linear(8, 8), nn.Linear(6, 16)

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        def heads(t: Tensor) -> Tensor:
            return t.reshape(*t.shape[:2], 2, 4).transpose(1, 2)

        q, k, v = (heads(t) for t in (self.query(x), *self.both(source).chunk(2, -1)))
        y = functional.scaled_dot_product_attention(q, k, v)
        return x + y.transpose(1, 2).flatten(2)


class Decoder(nn.Module):
    """A decoder's layer, for which the older exporter writes the steps of both sequences of its example."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerDecoderLayer(8, 2, 12, batch_first=True)

    def forward(self, x: Tensor, source: Tensor) -> Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1])
        return self.layer(x, source, tgt_mask=mask)


class Speaker(nn.Module):
    """Frames beside the vector of a speaker, which also gates them."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.out = nn.Linear(4, 8), nn.Linear(12, 3)

    def forward(self, x: Tensor, speaker: Tensor) -> Tensor:
        gated = x * self.gate(speaker).sigmoid().unsqueeze(1)
        every = speaker.unsqueeze(1).expand(-1, x.shape[1], -1)
        return self.out(torch.cat([gated, every], -1))


class RnnStates(nn.Module):
    """A recurrence that reads and gives back its states."""

    def __init__(self, rnn: nn.Module):
        super().__init__()
        self.rnn = rnn

    def forward(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        y, new = self.rnn(x, states if len(states) > 1 else states[0])
        return y, *(new if len(states) > 1 else (new,))


class Cell(nn.Module):
    """One step of a recurrence."""

    def __init__(self, cell: nn.Module):
        super().__init__()
        self.cell, self.out = cell, nn.Linear(5, 3)

    def forward(self, x: Tensor, *states: Tensor) -> tuple[Tensor, ...]:
        new = self.cell(x, states if len(states) > 1 else states[0])
        new = new if len(states) > 1 else (new,)
        return self.out(new[0]), *new


class Cached(nn.Module):
    """Convolutions that read the latest steps of the chunk before from a cache of all layers."""

    def __init__(self, layers: int, dilation: int = 1, time: int = 2):
        super().__init__()
        self.time = time
        self.convs = nn.ModuleList(nn.Conv1d(4, 4, 3, dilation=dilation) for _ in range(layers))

    def forward(self, x: Tensor, caches: Tensor) -> tuple[Tensor, Tensor]:
        new = []
        for conv, cache in zip(self.convs, caches, strict=True):
            both = torch.cat([cache, x], self.time)
            count = cache.shape[self.time]
            new.append(both[:, :, -count:] if self.time == 2 else both[:, -count:])
            if self.time == 2:
                x = x + conv(both).tanh()
            else:
                # The input comes later by as many steps as the convolution looks ahead.
                x = both[:, 1:-1] + conv(both.transpose(1, 2)).transpose(1, 2)
        return x, torch.stack(new)


class Keys(nn.Module):
    """Causal attention that reads keys and values of the chunks before, and gives back them and its own."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(8, 24), nn.Linear(8, 8)

    def forward(
        self, x: Tensor, keys: Tensor, values: Tensor, allowed: Tensor | None = None
    ) -> tuple[Tensor, ...]:
        batch, time, _ = x.shape
        steps = torch.arange(time) + keys.shape[2]
        x = x + (steps[:, None] * 0.1 ** torch.arange(8)).sin()
        q, k, v = (t.reshape(batch, time, 2, 4).transpose(1, 2) for t in self.qkv(x).chunk(3, -1))
        k, v = torch.cat([keys, k], 2), torch.cat([values, v], 2)
        mask = torch.arange(k.shape[2])[None] <= steps[:, None]
        if allowed is not None:
            mask = mask & (allowed[:, None, None] != 0)
        scores = (q @ k.transpose(-2, -1) / 2.0).masked_fill(~mask, float('-inf'))
        y = (scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, time, 8)
        return self.out(y), k, v


class Context(nn.Module):
    """Windows that begin with the end of the window before."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 4, 8, stride=4)
        self.out = nn.Linear(20, 3)

    def forward(self, x: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        both = torch.cat([context, x], 1)
        y = self.conv(both.unsqueeze(1)).relu()
        return self.out(y.flatten(1)), both[:, -8:]


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


class Bands(nn.Module):
    """A recurrence over the time of each band, with items and bands as one axis (FullSubNet, DPRNN between chunks)."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.LSTM(4, 5, batch_first=True), nn.GRU(5, 4, num_layers=2)
        self.norm = nn.LayerNorm(4)

    def forward(self, x: Tensor) -> Tensor:
        batch, bands, time, _ = x.shape
        x = x.reshape(batch * bands, time, 4)
        y = self.second(self.first(x)[0].transpose(0, 1))[0].transpose(0, 1)
        return (x + self.norm(y)).reshape(batch, bands, time, 4)


class Experts(nn.Module):
    """Each step is computed by those two of four experts that a gate chooses."""

    def __init__(self, form: str):
        super().__init__()
        self.form, self.gate = form, nn.Linear(8, 4)
        self.weights = nn.Parameter(torch.randn(4, 8, 6) / 3)

    def forward(self, x: Tensor) -> Tensor:
        gates = self.gate(x).softmax(-1)
        values, places = gates.topk(2, -1)
        if self.form == 'scatter':
            chosen = torch.zeros_like(gates).scatter(-1, places, values)
        elif self.form == 'one_hot':
            chosen = (functional.one_hot(places, 4).float() * values[..., None]).sum(-2)
        else:
            chosen = torch.where(gates >= values[..., -1:], gates, torch.zeros_like(gates))
        return torch.einsum('btc,ecd,bte->btd', x, self.weights, chosen)


class CutUNet(nn.Module):
    """Skips that are cut to the length of the decoder, on both sides or at the end (Demucs)."""

    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2 = nn.Conv1d(2, 4, 4, stride=2), nn.Conv1d(4, 4, 4, stride=2)
        self.inner = nn.Conv1d(4, 4, 3)
        self.up2 = nn.ConvTranspose1d(4, 4, 4, stride=2)
        self.up1 = nn.ConvTranspose1d(4, 2, 4, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        first = self.down1(x).relu()
        second = self.down2(first).relu()
        up = self.up2(self.inner(second) + second[:, :, 1:-1])
        return self.up1(up + first[:, :, : up.shape[2]])


def fixed_length(x: Tensor, conv: nn.Module) -> Tensor:
    """Frames by numbers of steps that are those of the example."""
    steps = int(x.shape[1])
    y = conv(x.transpose(1, 2))[:, :, : steps - 2].transpose(1, 2)
    return y.reshape(y.shape[0], steps - 2, 2, 3).flatten(2)


def pooled(x: Tensor) -> Tensor:
    """The mean, the deviation, the maximum and the last step."""
    return torch.cat([x.mean(2), x.std(2), x.amax(2), x[:, :, -1]], 1)


def attended(x: Tensor, scores: nn.Module) -> Tensor:
    """A mean with weights that all steps share, which are made of each step beside the mean of all."""
    every = x.mean(2, keepdim=True).repeat(1, 1, x.shape[2])
    return (x * scores(torch.cat([x, every], 1)).softmax(2)).sum(2)


def cumulative(x: Tensor) -> Tensor:
    """The mean of the steps up to each, and the running sum of channels."""
    counts = torch.arange(1, x.shape[1] + 1)[:, None]
    return x.cumsum(1) / counts + x.cumsum(2)


def spread(x: Tensor) -> Tensor:
    """Four steps of each, of a fourth of its channels (subpixel convolution), and each of them twice."""
    x = x.reshape(x.shape[0], 2, 2, x.shape[2]).transpose(2, 3).flatten(2)
    return x.unsqueeze(-1).expand(-1, -1, -1, 2).flatten(2)


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
        'up_linear': (nn.Upsample(scale_factor=2, mode='linear'), channels, 2),
        'rounded': (Rounded('constant'), (2, 2, 48), 2),
        'rounded_mirrored': (Rounded('reflect'), (2, 2, 48), 2),
        'rounded_thrice': (Rounded('constant', (4, 2, 2)), (2, 2, 48), 2),
        'rounded_ahead': (Rounded('reflect', (2, 3, 2), ahead=True), (2, 2, 48), 2),
        'bands': (Bands(), (2, 3, 12, 4), 2),
        'experts_scatter': (Experts('scatter'), sequence, 1),
        'experts_one_hot': (Experts('one_hot'), sequence, 1),
        'experts_threshold': (Experts('threshold'), sequence, 1),
        'pool_ceil': (nn.Sequential(nn.MaxPool1d(3, 2, ceil_mode=True), nn.AvgPool1d(4, 2, ceil_mode=True)), channels, 2),
        'unet_cut': (CutUNet(), (2, 2, 48), 2),
        'sources': (Sources(), (2, 1, 48), 2),
        'up_cut': (nn.ConvTranspose1d(4, 3, 4, stride=2, padding=1), channels, 2),
        'up_2d': (nn.ConvTranspose2d(1, 3, (3, 4), stride=(1, 2), padding=1), image, 2),
        'stretched': (Fn(spread), channels, 2),
        'time_padded': (nn.Sequential(nn.ConstantPad1d((3, 2), 0.0), nn.Tanh(), nn.ReLU()), channels, 2),
        'time_delayed': (nn.ZeroPad2d((0, 0, 2, -2)), sequence, 1),
        'mirrored': (nn.Sequential(nn.ReflectionPad1d(2), nn.Conv1d(4, 6, 3, dilation=2), nn.ReflectionPad1d((4, 0)),
                                   nn.Conv1d(6, 3, 5)), channels, 2),
        'repeated': (nn.Sequential(nn.ReplicationPad1d(2), nn.Conv1d(4, 6, 3, dilation=2), nn.ReplicationPad1d((4, 0)),
                                   nn.Conv1d(6, 4, 5, groups=2), nn.ReflectionPad1d(1), nn.Conv1d(4, 4, 3, groups=4)),
                     channels, 2),
        'repeated_images': (nn.Sequential(nn.ReplicationPad2d((0, 0, 2, 1)), nn.Conv2d(1, 3, (4, 3), padding=(0, 1)),
                                          nn.ReflectionPad2d((0, 0, 2, 0)), nn.Conv2d(3, 2, (3, 1))), image, 2),
        'spectrum': (Fn(lambda x: torch.stft(x, 16, 4, window=torch.hann_window(16), return_complex=True).abs()),
                     (2, 48), 1),
        'spectrum_of_window': (Fn(lambda x: torch.view_as_real(torch.stft(
            x, 16, 4, window=torch.hamming_window(16), center=False, return_complex=True))), (2, 48), 1),
        'transform': (Fn(lambda x: torch.fft.fft(torch.fft.rfft(x)).abs()), sequence, 1),
        'time_cut': (Fn(lambda x: x[:, 1:-3] * x[:, 4:] + x[:, 2:-2]), sequence, 1),
        'up_cut_end': (Fn(lambda x, c: c(x)[:, :, 1:-2], c=nn.ConvTranspose1d(4, 3, 5, stride=2)), channels, 2),
        'pool_padded': (nn.Sequential(nn.ConstantPad1d((2, 0), -torch.inf), nn.MaxPool1d(3, 1),
                                      nn.ConstantPad1d((2, 1), 0.0), nn.AvgPool1d(4, 1)), channels, 2),
        'windows': (nn.Sequential(nn.Unfold((1, 3), padding=(0, 1)),
                                  Fn(lambda x: x.unflatten(2, (-1, 6)))), image, 2),
        'windows_of_time': (Fn(lambda x: x.unfold(1, 4, 2)), sequence, 1),
        'running_mean': (Fn(cumulative), sequence, 1),
        'statistics': (Fn(pooled), channels, 2),
        'buckets': (Fn(lambda x: torch.bucketize(x, torch.tensor([-1.0, 0.0, 0.5])).float()), sequence, 1),
        'group_norm': (nn.GroupNorm(2, 4), channels, 2),
        'attentive_pooling': (Fn(attended, scores=nn.Conv1d(8, 4, 1)), channels, 2),
        'maxima': (Fn(lambda x, a, b: torch.cat([a(x).amax(2), b(x).amax(2)], 1),
                      a=nn.Conv1d(4, 3, 2), b=nn.Conv1d(4, 3, 4)), channels, 2),
        'position_table': (Positions(200), sequence, 1),
        'position_sines': (Positions(0), sequence, 1),
        'attention': (Attention(causal=False), sequence, 1),
        'attention_distances': (Scores('table'), sequence, 1),
        'attention_slopes': (Scores('slopes'), sequence, 1),
        'attention_capped': (Scores('capped'), sequence, 1),
        'attention_shifted': (Relative('shifted'), sequence, 1),
        'attention_shaw': (Relative('shaw'), sequence, 1),
        'attention_shaw_causal': (Relative('causal'), sequence, 1),
        'attention_shaw_band': (Relative('band'), sequence, 1),
        'attention_gated': (Relative('gated'), sequence, 1),
        'position_unpadded': (
            Fn(lambda x, c, p: p(c(x).transpose(1, 2)), c=nn.Conv1d(4, 8, 3), p=Positions(200)),
            channels, 2),
        'running_sum': (Fn(lambda x: x.cumsum(1) * x.cumsum(2)), sequence, 1),
        'attention_own': (Heads(own=True), sequence, 1),
        'attention_merged': (Heads(own=False), sequence, 1),
        'attention_multihead': (
            Fn(lambda x, inner: inner(x, x, x)[0], inner=nn.MultiheadAttention(8, 2, batch_first=True)),
            sequence, 1),
        'attention_rope': (Attention(causal=True, rope=True), sequence, 1),
        'attention_causal': (Attention(causal=True), sequence, 1),
    }  # fmt: skip


# Inputs after the first, as an example and its axes of batch and time.
More = dict[str, tuple[Tensor, dict[int, str]]]


def cases_of_several_inputs() -> dict[str, tuple[nn.Module, tuple[int, ...], int | None, More]]:
    """Module, shape of its input, time axis and other inputs; without a time axis a call is a step."""
    sequence, channels, step = (2, 12, 8), (2, 4, 32), (2, 8)
    both = {0: 'batch', 1: 'time'}

    def state(batch: int, *shape: int) -> tuple[Tensor, dict[int, str]]:
        return torch.randn(shape), {batch: 'batch'}

    # Tensors of their own: the newer exporter takes equal ones for one input.
    cache, other = ((torch.randn(2, 2, 7, 4), {0: 'batch', 2: 'past'}) for _ in range(2))
    two, one = state(1, 2, 2, 5), state(0, 2, 5)
    return {
        'fixed': (Fn(fixed_length, conv=nn.Conv1d(8, 6, 3, padding=1)), sequence, None, {}),
        'state_lstm': (RnnStates(nn.LSTM(8, 5, num_layers=2, batch_first=True)), sequence, 1, {'h': two, 'c': two}),
        'state_gru': (RnnStates(nn.GRU(8, 5, num_layers=2, batch_first=True)), sequence, 1, {'h': two}),
        'state_lstm_cell': (Cell(nn.LSTMCell(8, 5)), step, None, {'h': one, 'c': one}),
        'state_gru_cell': (Cell(nn.GRUCell(8, 5)), step, None, {'h': one}),
        'state_conv': (Cached(1, dilation=2), channels, 2, {'cache': state(1, 1, 2, 4, 4)}),
        'state_convs': (Cached(3), channels, 2, {'cache': state(1, 3, 2, 4, 2)}),
        'state_conv_last': (Cached(2, time=1), (2, 32, 4), 1, {'cache': state(1, 2, 2, 2, 4)}),
        'state_keys': (Keys(), sequence, 1, {'keys': cache, 'values': other}),
        'state_keys_mask': (Keys(), sequence, 1, {
            'keys': cache, 'values': other, 'allowed': (torch.ones(2, 19), {0: 'batch', 1: 'all'})}),
        'state_context': (Context(), (2, 16), None, {'context': state(0, 2, 8)}),
        'two_inputs': (Two(), sequence, 1, {'z': (torch.randn(2, 12, 4), both)}),
        'source': (Source(), sequence, 1, {'source': (torch.randn(2, 7, 6), {0: 'batch', 1: 'other'})}),
        'decoder': (Decoder(), sequence, 1, {'source': (torch.randn(2, 7, 8), {0: 'batch', 1: 'other'})}),
        'speaker': (Speaker(), sequence, 1, {'speaker': (torch.randn(2, 4), {0: 'batch'})}),
        'mask': (Masked(lengths=False), sequence, 1, {'allowed': (torch.ones(2, 12), both)}),
        'lengths': (Masked(lengths=True), sequence, 1,
                    {'allowed': (torch.tensor([12, 9]), {0: 'batch'})}),
    }  # fmt: skip


def export(
    module: nn.Module, shape: tuple[int, ...], time: int | None, more: More, dynamo: bool
) -> onnx.ModelProto:
    module, names = module.eval(), ['x', *more]
    inputs = (torch.randn(shape), *(example for example, _ in more.values()))
    axes = [{0: 'batch'} | ({} if time is None else {time: 'time'})]
    axes += [places for _, places in more.values()]
    made = module(*inputs)
    count = len(made) - 1 if isinstance(made, tuple) else 0
    states = [f'{name}_out' for name in list(more)[:count]]
    options = {'input_names': names, 'output_names': ['y', *states]}
    if dynamo:
        shapes = tuple(dict.fromkeys(places, torch.export.Dim.DYNAMIC) for places in axes)
        if more and _takes_any_number(module):
            shapes = (shapes[0], shapes[1:])
        program = torch.onnx.export(
            module, inputs, dynamo=True, verbose=False, dynamic_shapes=shapes,
            **(options if more else {}),
        )  # fmt: skip
        return program.model_proto
    file = io.BytesIO()
    torch.onnx.export(
        module, inputs, file, dynamo=False, opset_version=17,
        dynamic_axes=dict(zip(names, axes, strict=True)), **options,
    )  # fmt: skip
    return onnx.load_from_string(file.getvalue())


def _takes_any_number(module: nn.Module) -> bool:
    kinds = [p.kind for p in inspect.signature(module.forward).parameters.values()]
    return inspect.Parameter.VAR_POSITIONAL in kinds


def main() -> None:
    warnings.simplefilter('ignore')
    FOLDER.mkdir(exist_ok=True)
    every: dict[str, tuple[nn.Module, tuple[int, ...], int | None, More]]
    every = {name: (*case, {}) for name, case in cases().items()} | cases_of_several_inputs()
    for name, case in every.items():
        for exporter in ('legacy', 'dynamo'):
            path = FOLDER / f'{name}.{exporter}.onnx'
            if path.exists() or (name, exporter) in REFUSED:
                continue
            torch.manual_seed(0)
            try:
                model = export(*case, exporter == 'dynamo')
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
