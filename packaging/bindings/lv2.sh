# The LV2 plugins: their descriptions, tests in a host of our own, lv2bench, and a render by jalv and a
# JACK server that equals `sl run`; and what the fitted models do. SL_FIGURE=docs/images/jalv.png draws the two over each other.
readonly LV2_OUT="${PWD}/build/lv2"
readonly LV2_MODEL="${SL_LV2_MODEL:-${PWD}/docs/models/amp}"
readonly MONO=urn:sequence-layers:lv2:mono STEREO=urn:sequence-layers:lv2:stereo
export LV2_PATH="${PWD}/build/release/lv2:/usr/lib/lv2" JACK_NO_AUDIO_RESERVATION=1
export JACK_DEFAULT_SERVER="sequence_layers_$$"

validate() {
  local schemas
  mapfile -t schemas < <(find /usr/lib/lv2 -name '*.ttl')
  sord_validate "${schemas[@]}" capi/plugins/lv2/*.ttl
}

# Hosts find the installed plugins, and these the installed library.
check_installed() {
  local prefix="${LV2_OUT}/prefix"
  cmake --install build/release --prefix "${prefix}" >/dev/null
  LV2_PATH="$(echo "${prefix}"/lib*/lv2)" lv2ls | tee "${LV2_OUT}/installed"
  (($(wc -l <"${LV2_OUT}/installed") == 2))
  LV2_PATH="$(echo "${prefix}"/lib*/lv2):/usr/lib/lv2" lv2bench -n 48000 "${MONO}" | grep -q "${MONO}"
}

# lv2bench runs both plugins; the watch counts what their run() calls.
bench() {
  local plugin
  for plugin in "${MONO}" "${STEREO}"; do
    LD_PRELOAD="${LV2_OUT}/watch.so" lv2bench -b 64 -n 480000 "${plugin}" 2>"${LV2_OUT}/bench.log" |
      sed 's|$|: seconds for 10 of audio at block 64, without a model|'
    grep '^0 heap calls and locks' "${LV2_OUT}/bench.log"
  done
}

# A state that names the model, as hosts save it.
write_state() {
  mkdir -p "${LV2_OUT}/state"
  cat >"${LV2_OUT}/state/state.ttl" <<TTL
@prefix atom: <http://lv2plug.in/ns/ext/atom#> .
@prefix lv2: <http://lv2plug.in/ns/lv2core#> .
@prefix pset: <http://lv2plug.in/ns/ext/presets#> .
@prefix state: <http://lv2plug.in/ns/ext/state#> .
<> a pset:Preset ; lv2:appliesTo <${MONO}> ;
	state:state [ <urn:sequence-layers:lv2:model> "${LV2_MODEL}"^^atom:Path ] .
TTL
}

# Plays in.wav through the plugin in jalv. Ends the server and jalv whatever happens.
render() (
  server='' host=''
  trap 'kill ${host} ${server} 2>/dev/null; wait' EXIT
  jackd --no-realtime --no-mlock -n "${JACK_DEFAULT_SERVER}" -d dummy -r 48000 -p 64 >"${LV2_OUT}/jackd.log" 2>&1 &
  server=$!
  wait_for jack_lsp
  # jalv reads commands, and ends where there are none.
  rm -f "${LV2_OUT}/commands"
  mkfifo "${LV2_OUT}/commands"
  LD_PRELOAD="${LV2_OUT}/watch.so" jalv -n sl_fx -l "${LV2_OUT}/state" "${MONO}" \
    <>"${LV2_OUT}/commands" >"${LV2_OUT}/jalv.log" 2>&1 &
  host=$!
  wait_for ports_are_there
  build/release/jack_render "${LV2_OUT}/in.wav" "${LV2_OUT}/out.wav" sl_fx:in sl_fx:out 500000
  kill -INT "${host}"
  wait "${host}"
  grep '^0 heap calls and locks' "${LV2_OUT}/jalv.log" || { cat "${LV2_OUT}/jalv.log"; exit 1; }
)

# Fails unless the render is what `sl run` made. Draws both if asked to, with matplotlib, which nothing else needs.
compare() {
  local -a files=(--input "${LV2_OUT}/in.wav" --render "${LV2_OUT}/out.wav" --whole "${LV2_OUT}/whole.npy")
  tools -m sequence_layers_benches.render "${files[@]}"
  [[ -n "${SL_FIGURE:-}" ]] || return 0
  .deps/venv/bin/python -m pip install --quiet --disable-pip-version-check --upgrade --target "${LV2_OUT}/plot" \
    matplotlib==3.10.7 numpy==2.3.5
  PYTHONPATH="packaging/python:${LV2_OUT}/plot" .deps/venv/bin/python -m sequence_layers_benches.render "${files[@]}" \
    --plot "${SL_FIGURE}"
}

ports_are_there() { jack_lsp | grep -q '^sl_fx:out$'; }

wait_for() {
  for _ in $(seq 150); do
    "$@" >/dev/null 2>&1 && return
    sleep 0.2
  done
  echo "lv2: waited too long for $*" >&2
  return 1
}

apt_install lv2-dev liblilv-dev lilv-utils sordi libjack-jackd2-dev jackd2 jalv espeak-ng
clang-format --dry-run -Werror capi/plugins/lv2/*.c tests/plugins/*
configure release -DSL_WERROR=ON -DSL_BUILD_LV2=ON
cmake --build --preset release --target sequence_layers_lv2 lv2_test jack_render sl
mkdir -p "${LV2_OUT}"
"${CC:-cc}" -shared -fPIC -O2 -Wall -Wextra -Wconversion -Werror $(pkg-config --cflags lilv-0) \
  tests/plugins/audio_thread_watch.c -o "${LV2_OUT}/watch.so" -ldl
validate
check_installed
SL_LV2_LOAD_MODEL="${LV2_MODEL}" build/release/lv2_test
bench
write_state
tools -m sequence_layers_benches.render --make "${LV2_OUT}/in.wav"
render
build/release/sl run "${LV2_MODEL}" "${LV2_OUT}/in.wav" --stream --output "${LV2_OUT}/whole.npy" >/dev/null
compare
for name in amp denoiser reverb; do
  build/release/sl verify "docs/models/${name}" --time 3200 | tail -n 1
done
tools -m sequence_layers_benches.plugin_models --amp docs/models/amp --denoiser docs/models/denoiser \
  --reverb docs/models/reverb
