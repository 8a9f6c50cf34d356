# The wheel, installed with NumPy alone into fresh environments outside the tree: the suite on the oldest and the newest
# Python at hand (3.11 or later), and types as a user's checker sees them.
packaging/wheel
wheel_venv

# Prints the Python interpreters of this machine that the wheel supports, the oldest first.
supported_pythons() {
  local python version
  for python in /usr/bin/python3 /usr/local/bin/python3 "${HOME}"/.pyenv/versions/*/bin/python3; do
    [[ -x "${python}" ]] || continue
    version="$("${python}" -c 'import sys, venv; print(*sys.version_info[:2])')" || continue
    printf '%s %s\n' "${version}" "${python}"
  done | sort -k 1,1n -k 2,2n -u | awk '$1 > 3 || $2 >= 11 { print $3 }'
}

readonly SUITE_FILES=(suite.py test_decoders.py test_slots.py test_suite.py)

# test_wheel PYTHON FOLDER
test_wheel() {
  local python="$1" folder="$2" suite="${PWD}/build/suite"
  step "The wheel with $("${python}" --version)"
  "${python}" -m venv "${folder}/venv"
  "${folder}/venv/bin/python" -m pip install --quiet --disable-pip-version-check numpy==2.3.5 build/wheel/dist/*.whl
  (cd packaging/bindings/python && cp "${SUITE_FILES[@]}" "${folder}")
  (cd "${folder}" && env -u PYTHONPATH -u SEQUENCE_LAYERS_LIBRARY SL_SUITE="${suite}" venv/bin/python -m unittest)
}

(
  cd packaging/python
  checked=(sequence_layers_runtime sequence_layers_benches setup.py examples ../bindings ../../bench)
  "../../${WHEEL_VENV}/bin/ruff" format --check "${checked[@]}"
  "../../${WHEEL_VENV}/bin/ruff" check "${checked[@]}"
  "../../${WHEEL_VENV}/bin/mypy" --strict -p sequence_layers_runtime
)
outside="$(mktemp -d)"
trap 'rm -rf "${outside}"' EXIT
for python in $(supported_pythons | sed -n '1p;$p' | uniq); do
  tested="$(mktemp -d -p "${outside}")"
  test_wheel "${python}" "${tested}"
done
step "Extras"
"${tested}/venv/bin/python" -m pip install --quiet --disable-pip-version-check -c packaging/python/requirements.txt \
  "$(realpath build/wheel/dist/*.whl)[convert,import,onednn]"
cp packaging/bindings/python/test_extras.py "${tested}"
(suite="${PWD}/build/suite" silero="$(realpath "${SILERO}")" && cd "${tested}" &&
  env -u PYTHONPATH -u SEQUENCE_LAYERS_LIBRARY SL_SUITE="${suite}" SL_SILERO="${silero}" venv/bin/python test_extras.py)

step "Types, as a user of the wheel sees them"
"${WHEEL_VENV}/bin/mypy" --strict --python-executable "${tested}/venv/bin/python" "${SUITE_FILES[@]/#/${tested}/}"
