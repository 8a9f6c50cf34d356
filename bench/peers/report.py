"""Writes docs/benchmarks.md and the plots from the results of runs."""

import html
import json
import os
import pathlib
import re
import statistics
from typing import Any

from peers import rows

_ROOT = pathlib.Path(__file__).parents[2]
PAGE, IMAGES = _ROOT / 'docs/benchmarks.md', _ROOT / 'docs/images'
# Rows of the README's plot, which shows them on one thread.
_SUMMARY = (
    'conformer-512-step', 'conformer-512-layer', 'decoder-step', 'decoder-step-int8', 'log-mel', 'lstm-256-step',
    'gru-256-layer', 's4d', 'vad', 'crepe', 'tcn',
)  # fmt: skip
BEGIN, END = '<!-- bench/run writes this part -->', '<!-- to here -->'


def cpu() -> str:
    """The processor's name and the instruction sets that matter here."""
    text = pathlib.Path('/proc/cpuinfo').read_text()
    name = re.search(r'^model name\s*: (.*)$', text, re.M)
    flags = set(re.search(r'^flags\s*: (.*)$', text, re.M)[1].split())  # type: ignore[index]
    sets = [f for f in ('avx2', 'avx512f', 'avx512_vnni', 'avx512_bf16', 'amx_int8') if f in flags]
    return f'{name[1] if name else "unknown"} ({", ".join(sets)})'


def medians(result: dict[str, Any]) -> dict[str, float]:
    """Seconds by library, of those whose outputs are right."""
    return {
        name: statistics.median(told['seconds'])
        for name, told in result['libraries'].items()
        if told.get('seconds') and 'failed' not in told
    }


def _peers(result: dict[str, Any]) -> dict[str, float]:
    row = rows.named(result['row'])
    return {name: t for name, t in medians(result).items() if name in row.peers}


def ratio(result: dict[str, Any], name: str) -> float | None:
    """The fastest peer's time divided by that of a build of this library."""
    times, peers = medians(result), _peers(result)
    return min(peers.values()) / times[name] if peers and name in times else None


def _time(seconds: float, unit: str) -> str:
    value = seconds * {'us': 1e6, 'ms': 1e3, 's': 1.0}[unit]
    return f'{value:.{max(0, 2 - len(str(int(value))) + 1)}f} {unit}'


def _own_time(result: dict[str, Any]) -> str:
    """This library's time; of streams the latency of a step of all, and how many steps they make."""
    row, seconds = rows.named(result['row']), medians(result)['ours']
    text = _time(seconds, row.unit)
    if row.mode == rows.STREAMS:
        text += f' a step, {row.batch / seconds:,.0f} steps/s'
    return text


def _share(result: dict[str, Any], limits: dict[str, Any]) -> str:
    """The share of the machine's limit that this library reaches."""
    row, threads = rows.named(result['row']), result['threads']
    seconds = medians(result)['ours']
    if row.limit == 'fma':
        return f'{row.work / seconds / limits["fma"] / threads:.0%} of FMA'
    if row.is_bound_by_reading and 'reading' in result:
        return f'{row.read_bytes / seconds / result["reading"]:.0%} of reading'
    return ''


def _cells(result: dict[str, Any], limits: dict[str, Any]) -> list[str]:
    row, times, peers = rows.named(result['row']), medians(result), _peers(result)
    order = sorted(peers, key=peers.__getitem__)
    others = ', '.join(f'{name} {_time(peers[name], row.unit)}' for name in order)
    missing = [n for n, told in result['libraries'].items() if 'skipped' in told]
    failed = [n for n, told in result['libraries'].items() if 'failed' in told]
    others += ''.join(f'; {n}: failed' for n in failed) + ''.join(
        f'; {n}: not run' for n in missing
    )
    found = ratio(result, 'ours')
    quotient = '' if found is None else f'{found:.2f}' if found >= row.goal else f'**{found:.2f}**'
    worst = max((t.get('difference', 0.0) for t in result['libraries'].values()), default=0.0)
    return [
        row.title,
        str(result['threads']),
        _own_time(result) if 'ours' in times else 'failed',
        others.removeprefix('; '),
        quotient,
        f'{row.goal:g}' if found is not None else '',
        _share(result, limits) if 'ours' in times else '',
        f'{worst:.0e}' if worst else '',
    ]


_HEADER = (
    'Row',
    'Threads',
    'Ours',
    'Peers, fastest first',
    'Peer / ours',
    'Goal',
    'Share of limit',
    'Difference',
)


def _table(results: list[dict[str, Any]], limits: dict[str, Any]) -> str:
    lines = [_HEADER, ['---'] * len(_HEADER), *(_cells(r, limits) for r in results)]
    return ''.join(f'| {" | ".join(cells)} |\n' for cells in lines)


def _color(value: float, goal: float) -> str:
    return '#2a7f4f' if value >= goal else '#c7962c' if value >= 1 else '#b5402f'


def plot(results: list[dict[str, Any]]) -> str:
    """An SVG with a bar for each row: the fastest peer's time in ours."""
    bars = [
        (rows.named(r['row']), r['threads'], value) for r in results if (value := ratio(r, 'ours'))
    ]
    left, scale, height = 270, 170, 17
    width = left + 3.3 * scale
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height * len(bars) + 44}" '
        'font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
        f'<text x="{left}" y="14">time of the fastest peer / ours (longer is better for us)</text>',
    ]
    for i, (row, threads, value) in enumerate(bars):
        y, end = 22 + height * i, scale * min(value, 3)
        title = html.escape(f'{row.title} ({threads})')
        parts += [
            f'<text x="{left - 6}" y="{y + 12}" text-anchor="end">{title}</text>',
            f'<rect x="{left}" y="{y + 2}" width="{end:.1f}" height="{height - 4}" fill="{_color(value, row.goal)}"/>',
            f'<text x="{left + end + 4:.1f}" y="{y + 12}">{value:.2f}</text>',
        ]
    bottom = 22 + height * len(bars)
    for mark in (1, 2, 3):
        x = left + scale * mark
        parts += [
            f'<line x1="{x}" y1="20" x2="{x}" y2="{bottom}" stroke="#555" stroke-dasharray="2,3"/>',
            f'<text x="{x}" y="{bottom + 14}" text-anchor="middle">{mark}</text>',
        ]
    return '\n'.join([*parts, '</svg>\n'])


def _read(folder: pathlib.Path) -> list[dict[str, Any]]:
    paths = [folder / f'{row.name}-{n}.json' for row in rows.ROWS for n in row.threads]
    return [json.loads(path.read_text()) for path in paths if path.exists()]


def write(folder: pathlib.Path, page: pathlib.Path = PAGE, images: pathlib.Path = IMAGES) -> None:
    """Writes the document between its marks, and the plots."""
    results = _read(folder)
    limits = json.loads((folder / 'limits.json').read_text())
    dates = sorted({r['date'] for r in results})
    reading = ' and '.join(f'{rate / 1e9:.1f} GB/s by {n}' for n, rate in limits['reading'].items())
    machine = (
        f'{limits["cpu"]}, {os.cpu_count()} cores; limits measured in the same run: {limits["fma"] / 1e9:.0f} GFLOP/s of '
        f'multiply-adds by one core, reading DRAM {reading} of them. {" to ".join(dict.fromkeys((dates[0], dates[-1])))}.'
    )
    text = f'{BEGIN}\n{machine}\n\n{_table(results, limits)}\n![The plot](images/benchmarks.svg)\n{END}'
    before, _, rest = page.read_text().partition(BEGIN)
    page.write_text(before + text + rest.partition(END)[2])
    summary = [r for r in results if r['row'] in _SUMMARY and r['threads'] == 1]
    (images / 'benchmarks.svg').write_text(plot(results))
    (images / 'speed.svg').write_text(plot(summary))
    print(f'{page}: {len(results)} results')
