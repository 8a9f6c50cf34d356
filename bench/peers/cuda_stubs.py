"""Makes empty libraries in place of CUDA's, so that the registry's PyTorch loads without gigabytes of it.

  python cuda_stubs.py TORCH_FOLDER OUT

PyTorch's package for x86-64 needs CUDA's libraries when it is loaded, though it calls none of them on a CPU.
Each library that is not on this machine is made with the symbols that PyTorch's own ones look up in it.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

# cudaErrorNoDevice, which every function returns: registering kernels while loading ignores it.
_NO_DEVICE = 100


def _read(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _needed(libraries: list[pathlib.Path]) -> tuple[set[str], dict[str, set[str]], set[str]]:
    """Names of needed libraries, the versions that are looked up in each, and all symbols with versions."""
    names: set[str] = set()
    versions: dict[str, set[str]] = {}
    symbols: set[str] = set()
    for library in libraries:
        names |= set(re.findall(r'NEEDED.*\[(.*)\]', _read('readelf', '-dW', str(library))))
        file = ''
        for line in _read('readelf', '-VW', str(library)).splitlines():
            if found := re.search(r'File: (\S+)', line):
                file = found[1]
            elif file and (found := re.search(r'Name: (\S+)', line)):
                versions.setdefault(file, set()).add(found[1])
        symbols |= set(re.findall(r' [Uwv] (\S+@\S+)', _read('nm', '-D', str(library))))
    return names, versions, symbols


def _make(out: pathlib.Path, name: str, versions: set[str], symbols: set[str]) -> None:
    by_version = {
        v: sorted(s.split('@')[0] for s in symbols if s.split('@')[1] == v) for v in versions
    }
    source = ''.join(
        f'.globl {s}\n.type {s}, @function\n.balign 64\n{s}: mov ${_NO_DEVICE}, %eax\nret\n'
        for names in by_version.values()
        for s in names
    )
    script = ''.join(
        f'{v} {{ {" ".join(f"{s};" for s in names)} }};\n' for v, names in by_version.items()
    )
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / 'stub.s').write_text(
            f'.text\n{source}.section .note.GNU-stack,""\n'
        )
        (pathlib.Path(folder) / 'versions').write_text(script)
        versioned = [f'-Wl,--version-script={folder}/versions'] if script else []
        command = ['cc', '-shared', '-nostdlib', f'-Wl,-soname,{name}', *versioned]
        subprocess.run([*command, '-o', str(out / name), f'{folder}/stub.s'], check=True)


def main() -> None:
    torch, out = map(pathlib.Path, sys.argv[1:])
    own = [path for path in torch.rglob('*.so*') if path.is_file()]
    names, versions, symbols = _needed(own)
    present = {path.name for path in own} | set(
        re.findall(r'(\S+) \(', _read('/sbin/ldconfig', '-p'))
    )
    out.mkdir(parents=True, exist_ok=True)
    for name in sorted(names - present):
        _make(out, name, versions.get(name, set()), symbols)


if __name__ == '__main__':
    main()
