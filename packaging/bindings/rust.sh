# The Rust crates: the bindings are those of the header, formatting, lints and documentation as errors, tests, a program
# outside the tree, with the installed library by pkg-config and with the static one, overhead per step. No network is needed.
source packaging/bindings/cargo
readonly CRATES="${PWD}/capi/bindings/rust"
readonly RUST_OUT="${PWD}/build/rust"
readonly SUITE="${PWD}/build/suite"
export CARGO_NET_OFFLINE=true

# run_consumer [VARIABLE=VALUE...]: builds examples/vad.rs as a program outside the tree, with these variables, and checks what
# it prints.
run_consumer() {
  local program="${RUST_OUT}/consumer"
  mkdir -p "${program}/src"
  rm -f "${program}/Cargo.lock" # another version of Cargo may have written it
  cp "${CRATES}/sequence-layers/examples/vad.rs" "${program}/src/main.rs"
  printf '[package]\nname = "consumer"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n[dependencies]\n%s\n' \
    "sequence-layers = { path = \"${CRATES}/sequence-layers\" }" >"${program}/Cargo.toml"
  check_probabilities env -C "${program}" "$@" cargo run --quiet -- "${SUITE}/vad/model"
}

run_installed() {
  local prefix="${RUST_OUT}/prefix"
  install_release "${prefix}"
  run_consumer LD_LIBRARY_PATH="${prefix}/lib" PKG_CONFIG_PATH="${prefix}/lib/pkgconfig"
}

run_static() {
  cmake --build build/release --target sequence_layers_static >/dev/null
  run_consumer SEQUENCE_LAYERS_STATIC=1 SEQUENCE_LAYERS_LIB_DIR="${PWD}/build/release"
  if ldd "${RUST_OUT}/consumer/target/debug/consumer" | grep libsequence_layers; then
    echo "the static program needs the shared library" >&2
    return 1
  fi
}

if command -v bindgen >/dev/null; then install_rust; else install_rust bindgen libclang1-14 libclang-common-14-dev; fi
"${CRATES}/bindgen.sh" --check
check_rust "${CRATES}"
cargo_in "${CRATES}" test --locked
for crate in sequence-layers-sys sequence-layers; do
  cargo_in "${CRATES}" package --list --allow-dirty -p "${crate}" 2>&1 | grep -x src/lib.rs >/dev/null
done
run_installed
run_static
cargo_in "${CRATES}" run --quiet --locked --release --example overhead -- "${SUITE}/overhead/model" \
  "$(build/overhead "${SUITE}/overhead/model")"
