# The Go module: formatting, vet, tests with the installed library, the streams under the race detector, a program outside
# the module, overhead per step. Go 1.19 or later is installed from Debian if it is missing.
readonly GO_MODULE="${PWD}/capi/bindings/go"
readonly GO_OUT="${PWD}/build/go"
readonly GO_PREFIX="${GO_OUT}/prefix"

command -v go >/dev/null || apt_install golang-go
apt_install gcc libc6-dev pkg-config

if [[ ! -f build/release/CMakeCache.txt ]]; then configure release; fi
install_release "${GO_PREFIX}"
export PKG_CONFIG_PATH="${GO_PREFIX}/lib/pkgconfig" LD_LIBRARY_PATH="${GO_PREFIX}/lib"
export SEQUENCE_LAYERS_SUITE="${PWD}/build/suite" CGO_ENABLED=1 GOPROXY=off GOTOOLCHAIN=local GOFLAGS=-mod=mod

# go_in FOLDER COMMAND [ARGUMENT...]
go_in() { (cd "$1" && go "${@:2}"); }

# A program outside the module streams the suite's samples.
run_consumer() {
  local program="${GO_OUT}/consumer"
  mkdir -p "${program}"
  sed 's/^package .*/package main/; s/^func Example()/func main()/; s#"build/demo/silero_vad"#os.Args[1]#' \
    "${GO_MODULE}/example_test.go" >"${program}/main.go"
  printf 'module consumer\n\ngo 1.19\n\nrequire sequencelayers.org/sequencelayers v1.0.0\n\nreplace %s => %s\n' \
    sequencelayers.org/sequencelayers "${GO_MODULE}" >"${program}/go.mod"
  go_in "${program}" build -o consumer .
  check_probabilities "${program}/consumer" build/suite/vad/model
}

unformatted="$(cd "${GO_MODULE}" && "$(go env GOROOT)/bin/gofmt" -l .)"
[[ -z "${unformatted}" ]] || { echo "not formatted by gofmt: ${unformatted}" >&2; exit 1; }
go_in "${GO_MODULE}" vet .
go_in "${GO_MODULE}" test -count=1 .
go_in "${GO_MODULE}" test -count=1 -race -run 'HundredStreams|CustomLayer' .
run_consumer
go_in "${GO_MODULE}" test -count=1 -v -run '^TestOverhead$' . | grep overhead:
