# Shell functions that packaging/demo and packaging/test share. They expect the repository as the
# working directory.

readonly DEMO=build/demo
readonly VAD_MODEL="${DEMO}/silero_vad"
readonly SPEECH="${DEMO}/speech.wav"
readonly SILERO=.deps/silero

# step NAME: announces a step, and how long those before it took.
step() { printf '\n== %s (after %d s)\n' "$*" "${SECONDS}"; }

# configure PRESET [CMAKE_ARGUMENT...]: shows CMake's output only if it fails.
configure() {
  local preset="$1" log="build/$1.configure.log"
  shift
  mkdir -p build
  cmake --preset "${preset}" "$@" >"${log}" 2>&1 || {
    cat "${log}"
    return 1
  }
}

# build_targets PRESET TARGET...
build_targets() {
  local preset="$1"
  shift
  configure "${preset}"
  cmake --build --preset "${preset}" --target "$@"
}

# build PRESET TARGET [CMAKE_ARGUMENT...]: TARGET `sl` builds the tool with its library, `all` also
# the tests. Both use the preset's folder, so that nothing is built twice.
build() {
  local preset="$1" target="$2"
  shift 2
  configure "${preset}" "$@"
  cmake --build --preset "${preset}" --target "${target}"
}

# Runs a Python module, or python with other options, with the tools and the built library in its
# paths.
tools() {
  PYTHONPATH=packaging/python SEQUENCE_LAYERS_LIBRARY=build/release/libsequence_layers.so \
    .deps/venv/bin/python "$@"
}

make_vad_model() {
  mkdir -p "${DEMO}"
  tools -m sequence_layers_tools.silero_vad --source "${SILERO}" --out "${VAD_MODEL}"
}

make_speech() {
  mkdir -p "${DEMO}"
  tools -m sequence_layers_tools.speech --out "${SPEECH}"
}

# compare_with_onnxruntime [ARGUMENT...]
compare_with_onnxruntime() {
  tools -m sequence_layers_benches.compare --model "${VAD_MODEL}" --source "${SILERO}" \
    --wav "${SPEECH}" "$@"
}

# run_bench_once PROGRAM: every benchmark of it, no longer than one needs to end. Fails if one does or
# there is none.
run_bench_once() {
  local log="$1.log"
  "$1" --benchmark_min_time=0.001 >"${log}" 2>&1 && ! grep -q "ERROR OCCURRED" "${log}" && grep -q " ns" "${log}" || {
    cat "${log}"
    return 1
  }
  printf '%s: %d benchmarks ran\n' "$1" "$(grep -c ' ns' "${log}")"
}

readonly WHEEL_VENV=build/wheel-venv

# The environment that builds and checks Python's wheel, at the pinned versions.
wheel_venv() {
  local pins=packaging/python/requirements-wheel.txt stamp="${WHEEL_VENV}/pins"
  cmp -s "${pins}" "${stamp}" && return
  rm -rf "${WHEEL_VENV}"
  /usr/bin/python3 -m venv "${WHEEL_VENV}"
  "${WHEEL_VENV}/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "${pins}"
  cp "${pins}" "${stamp}"
}

# as_root COMMAND...
as_root() { if ((EUID == 0)); then "$@"; else sudo "$@"; fi; }

# apt_install PACKAGE...: installs those that are missing.
apt_install() {
  local -a missing=()
  local package
  for package in "$@"; do
    [[ "$(dpkg-query -W -f '${db:Status-Abbrev}' "${package}" 2>/dev/null)" == ii* ]] || missing+=("${package}")
  done
  ((${#missing[@]})) || return 0
  as_root apt-get -o DPkg::Lock::Timeout=300 update -qq
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq \
    --no-install-recommends "${missing[@]}" >/dev/null
}

# install_release PREFIX: builds the release library and its tool, and installs them.
install_release() {
  cmake --build build/release --target sequence_layers sl >/dev/null
  cmake --install build/release --prefix "$1" >/dev/null
}

# check_probabilities COMMAND...: streams the suite's samples through a program outside the tree, and fails if it does not
# print all probabilities.
check_probabilities() {
  local lines
  lines="$("$@" <build/suite/vad/input.bin | grep -c '^[01]\.[0-9]*$')"
  ((lines == 713)) || { echo "printed ${lines} probabilities, not 713: $*" >&2; return 1; }
}

# distribution_flags: exports the compiler and linker flags of Debian's packages.
distribution_flags() {
  local flags
  flags="$(DEB_BUILD_MAINT_OPTIONS=hardening=+all dpkg-buildflags --export=sh)"
  eval "${flags}"
  export CFLAGS="${CFLAGS} ${CPPFLAGS}" CXXFLAGS="${CXXFLAGS} ${CPPFLAGS}"  # CMake reads no CPPFLAGS
}
