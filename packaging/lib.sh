# Shell functions that packaging/demo and packaging/test share. They expect the repository as the
# working directory.

readonly DEMO=build/demo
readonly VAD_MODEL="${DEMO}/silero_vad"
readonly SPEECH="${DEMO}/speech.wav"
readonly SILERO=.deps/silero

step() { printf '\n== %s\n' "$*"; }

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
