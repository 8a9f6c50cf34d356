#!/usr/bin/env bash
# The bindings of the C header, sequence-layers-sys/src/bindings.rs, by bindgen 0.60.1 (the package `bindgen` of Debian 12)
# and rustfmt:
#
#   ./bindgen.sh --write   writes them
#   ./bindgen.sh --check   fails if those in the tree are not those of the header
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

readonly VERSION="0.60.1"
readonly INCLUDE="../../../include"
readonly BINDINGS="sequence-layers-sys/src/bindings.rs"

fail() { echo "bindgen.sh: $*" >&2; exit 1; }

# Anonymous enums become i32, the type of the typedef that stands before each in the header.
generate() {
  bindgen --no-doc-comments --no-rustfmt-bindings --with-derive-default --size_t-is-usize --ctypes-prefix ::std::os::raw \
    --allowlist-function 'sl_.*' --allowlist-type 'sl_.*' --allowlist-var 'SL_.*' \
    "${INCLUDE}/sequence_layers/sequence_layers.h" -- -I"${INCLUDE}" |
    sed -E 's/pub type (_bindgen_ty_[0-9]+|__u?int[0-9]+_t) = [^;]*;//g; s/: _bindgen_ty_[0-9]+ =/: i32 =/g' |
    rustfmt --edition 2021
}

[[ "$(bindgen --version 2>&1)" == "bindgen ${VERSION}" ]] || fail "needs bindgen ${VERSION} in PATH"
case "${1:-}" in
  --write) generate >"${BINDINGS}.new" && mv "${BINDINGS}.new" "${BINDINGS}" ;;
  --check) generate | diff -u "${BINDINGS}" - || fail "${BINDINGS} is not of this header: run ./bindgen.sh --write" ;;
  *) fail "usage: ./bindgen.sh --write | --check" ;;
esac
