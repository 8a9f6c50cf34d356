# The CLAP plugin: formatting, lints, the plugin in a host of its own tests, what thirty instances cost. Makes
# build/clap/sequence-layers.clap.
source packaging/bindings/cargo
readonly PLUGIN="${PWD}/capi/plugins/clap"

install_rust
cmake --build build/release --target sl >/dev/null # the tests compare with `sl run`
check_rust "${PLUGIN}"
cargo_in "${PLUGIN}" test --release -- --nocapture
cargo_in "${PLUGIN}" build --quiet --release
cp build/clap/release/libsequence_layers_clap.so build/clap/sequence-layers.clap
exported="$(nm -D --defined-only build/clap/sequence-layers.clap | awk '{print $3}')"
[[ "${exported}" == clap_entry ]] || { echo "the plugin exports: ${exported}" >&2; exit 1; }
