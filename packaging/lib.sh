# Steps that packaging/demo and packaging/test share. Sourced, with the repository as the working
# directory.

readonly DEMO=build/demo
readonly VAD_MODEL="${DEMO}/silero_vad"
readonly SPEECH="${DEMO}/speech.wav"
readonly SILERO=.deps/silero

step() { printf '\n== %s\n' "$*"; }

# configure PRESET [CMAKE_ARGUMENT...]: CMake's own report is of use only if it fails.
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

# build PRESET TARGET [CMAKE_ARGUMENT...]: `sl` is the tool and the library that it runs on, `all` also
# the tests. Both share the preset's folder: what one has built, the other does not build again.
build() {
  local preset="$1" target="$2"
  shift 2
  configure "${preset}" "$@"
  cmake --build --preset "${preset}" --target "${target}"
}

# Runs a module, or python options, with the tools and the built library in reach.
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
  tools -m sequence_layers_tools.compare --model "${VAD_MODEL}" --source "${SILERO}" \
    --wav "${SPEECH}" "$@"
}
