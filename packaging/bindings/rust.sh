# The Rust crates: the bindings are those of the header, formatting, lints and documentation as errors, tests, a program
# outside the tree that finds the installed library by pkg-config, overhead per step.
readonly CRATES="${PWD}/capi/bindings/rust"
readonly RUST_OUT="${PWD}/build/rust"
readonly SUITE="${PWD}/build/suite"
export LD_LIBRARY_PATH="${PWD}/build/release${LD_LIBRARY_PATH:+:${LD_LIBRARY_PATH}}"

install_rust() {
  local -a packages=()
  command -v cargo >/dev/null || packages+=(cargo rustc rustfmt rust-clippy)
  command -v bindgen >/dev/null || packages+=(bindgen libclang-common-14-dev)
  ((${#packages[@]})) || return 0
  local -a as_root=()
  ((EUID == 0)) || as_root=(sudo)
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 install -y -qq \
    --no-install-recommends "${packages[@]}" >/dev/null
}

# Cargo in the workspace, which needs no network.
crates() { (cd "${CRATES}" && cargo "$1" --quiet --locked --offline "${@:2}"); }

# Builds examples/vad.rs as a program of its own, against an installed library, and streams the suite's samples.
run_installed() {
  local prefix="${RUST_OUT}/prefix" program="${RUST_OUT}/consumer" lines
  cmake --install build/release --prefix "${prefix}" >/dev/null
  mkdir -p "${program}/src"
  cp "${CRATES}/sequence-layers/examples/vad.rs" "${program}/src/main.rs"
  printf '[package]\nname = "consumer"\nversion = "0.0.0"\nedition = "2021"\n[workspace]\n[dependencies]\n%s\n' \
    "sequence-layers = { path = \"${CRATES}/sequence-layers\" }" >"${program}/Cargo.toml"
  lines="$(cd "${program}" && LD_LIBRARY_PATH="${prefix}/lib" PKG_CONFIG_PATH="${prefix}/lib/pkgconfig" \
    cargo run --quiet --offline -- "${SUITE}/vad/model" <"${SUITE}/vad/input.bin" | grep -c '^[01]\.[0-9]*$')"
  ((lines == 713)) || { echo "the program outside the tree printed ${lines} probabilities, not 713" >&2; return 1; }
}

install_rust
"${CRATES}/bindgen.sh" --check
(cd "${CRATES}" && cargo fmt -- --check)
crates clippy --all-targets -- -D warnings
RUSTDOCFLAGS="-D warnings" crates doc --no-deps
(cd "${CRATES}" && cargo test --locked --offline)
for crate in sequence-layers-sys sequence-layers; do
  crates package --list --allow-dirty -p "${crate}" 2>&1 | grep -x src/lib.rs >/dev/null
done
run_installed
crates run --release --example overhead -- "${SUITE}/overhead/model" "$(build/overhead "${SUITE}/overhead/model")"
