# The examples of jobs over a directory of WAV files, by Ray Data and by Spark, each in local mode with two workers and the
# wheel installed. What they write is compared with what `sl run` writes for each file.
build_targets release sl
packaging/wheel
source packaging/bindings/maven
install_java # which Spark runs on

readonly BATCH=build/batch
readonly BATCH_PINS=packaging/python/requirements-batch.txt

batch_venv() {
  cmp -s "${BATCH_PINS}" build/batch-venv/pins || {
    rm -rf build/batch-venv
    /usr/bin/python3 -m venv build/batch-venv
    build/batch-venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r "${BATCH_PINS}"
    cp "${BATCH_PINS}" build/batch-venv/pins
  }
  build/batch-venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall \
    build/wheel/dist/*.whl
}

# Twelve files of different lengths, cut from the recording, and what `sl run` gives for them.
make_wavs() {
  local file
  rm -rf "${BATCH}"
  mkdir -p "${BATCH}/wavs" "${BATCH}/sl"
  tools packaging/bindings/python/cut_wav.py "${SPEECH}" "${BATCH}/wavs" --files 12
  for file in "${BATCH}"/wavs/*.wav; do
    build/release/sl run build/suite/vad/model "${file}" --output "${BATCH}/sl/$(basename "${file}" .wav).npy" >/dev/null
  done
}

# run_example NAME: runs batch_NAME.py with the wheel, and compares what it writes.
run_example() {
  step "$1"
  (cd "${BATCH}" && env -u PYTHONPATH -u SEQUENCE_LAYERS_LIBRARY RAY_USAGE_STATS_ENABLED=0 \
    ../batch-venv/bin/python "../../packaging/python/examples/batch_$1.py" ../suite/vad/model wavs "$1" --workers 2) \
    2>"${BATCH}/$1.log" || { cat "${BATCH}/$1.log"; return 1; }
  build/batch-venv/bin/python packaging/bindings/python/equal_npy.py "${BATCH}/sl" "${BATCH}/$1"
}

batch_venv
make_wavs
run_example ray
run_example spark
