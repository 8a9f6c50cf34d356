# The packages: builds them and the relocatable archive, and tests what is installed in new Debian systems that have nothing
# else; then the static library alone, and the tree as a part of another project. Run by packaging/test-bindings.
export CCACHE_DIR="${CCACHE_DIR:-${PWD}/build/ccache}" CCACHE_BASEDIR="${CCACHE_BASEDIR:-${PWD}}" CCACHE_NOHASHDIR=1
readonly ROOTS="${PWD}/build/roots"
readonly BUILD_TOOLS=(gcc g++ cmake make pkg-config)

# base_system: a minimal Debian of this release, made once.
base_system() {
  [[ ! -f "${ROOTS}/base.stamp" ]] || return 0
  as_root rm -rf "${ROOTS}/base"
  mkdir -p "${ROOTS}"
  as_root debootstrap --variant=minbase "$(. /etc/os-release && echo "${VERSION_CODENAME}")" "${ROOTS}/base" \
    >"${ROOTS}/debootstrap.log" 2>&1 || {
    tail -n 20 "${ROOTS}/debootstrap.log"
    return 1
  }
  touch "${ROOTS}/base.stamp"
}

# new_system NAME: a fresh copy with the inputs of the tests in /test.
new_system() {
  base_system
  as_root rm -rf "${ROOTS:?}/$1"
  as_root cp -a "${ROOTS}/base" "${ROOTS}/$1"
  as_root mkdir "${ROOTS}/$1/test"
  as_root cp -r tests/install "${VAD_MODEL}" "${SPEECH}" build/suite/vad/input.bin build/suite/vad/expected.bin \
    "${ROOTS}/$1/test/"
}

# inside NAME COMMAND...: runs a command in a system, in the directory /test. Its /proc vanishes with the command.
inside() {
  local name="$1"
  shift
  # shellcheck disable=SC2016
  as_root env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C DEBIAN_FRONTEND=noninteractive \
    CONSUMER_MODEL="/test/silero_vad /test/input.bin /test/expected.bin" \
    unshare --mount sh -ec 'mount -t proc proc "$0/proc"; exec chroot "$0" sh -c '\''cd /test && exec "$@"'\'' sh "$@"' \
    "${ROOTS}/${name}" "$@"
}

# apt_inside NAME ARGUMENT...
apt_inside() {
  inside "$1" apt-get -qq -y --no-install-recommends "${@:2}" >"${ROOTS}/$1.apt.log" 2>&1 || {
    tail -n 20 "${ROOTS}/$1.apt.log"
    return 1
  }
}

# try_tool NAME SL: the tool streams sound through the model, whose probabilities must be the recorded ones, and draws it
# without a complaint about missing fonts.
try_tool() {
  local out="${ROOTS}/$1/test"
  inside "$1" "$2" --version
  inside "$1" "$2" run silero_vad speech.wav --stream --output out.npy --plot out.png 2>"${out}.errors"
  [[ -s "${out}/out.png" && ! -s "${out}.errors" ]] || { cat "${out}.errors" >&2; return 1; }
  .deps/venv/bin/python - "${out}/out.npy" build/suite/vad/expected.bin <<'END'
import sys
import numpy as np
seen, expected = np.load(sys.argv[1]).ravel(), np.fromfile(sys.argv[2], np.float32)
difference = np.abs(seen - expected[: seen.size]).max()
print(f'sl: {seen.size} probabilities, largest difference {difference:.1e}')
sys.exit(not (expected.size - seen.size in (0, 1) and difference <= 1e-4))
END
}

# try_packages: the tool's package brings what it needs with the library; the other one what programs are linked with.
try_packages() {
  local package
  new_system deb
  for package in libsequence-layers1 libsequence-layers-dev sequence-layers-tools; do
    as_root cp build/deb/"${package}"_*.deb "${ROOTS}/deb/test/${package}.deb"
  done
  apt_inside deb update
  apt_inside deb install /test/libsequence-layers1.deb /test/sequence-layers-tools.deb
  try_tool deb sl
  inside deb test -s /usr/share/man/man1/sl-run.1.gz -a -s /usr/share/bash-completion/completions/sl \
    -a -s /usr/share/zsh/vendor-completions/_sl -a -s /usr/share/fish/vendor_completions.d/sl.fish
  apt_inside deb install /test/libsequence-layers-dev.deb "${BUILD_TOOLS[@]}"
  inside deb install/consume /test/consumers / shared static
}

# try_archive: first with nothing installed beside it, then from another directory.
try_archive() {
  new_system tarball
  as_root mkdir -p "${ROOTS}/tarball/opt/here"
  as_root tar -C "${ROOTS}/tarball/opt/here" --strip-components=1 -xf build/tarball/package/*.tar.xz
  try_tool tarball /opt/here/bin/sl
  apt_inside tarball update
  apt_inside tarball install "${BUILD_TOOLS[@]}"
  inside tarball install/consume /test/consumers /opt/here shared static
  as_root mv "${ROOTS}/tarball/opt/here" "${ROOTS}/tarball/opt/there"
  try_tool tarball /opt/there/bin/sl
  inside tarball install/consume /test/consumers /opt/there shared static
}

# The static library alone, with the flags of the packages, whose objects the compiler cache has.
try_static_library() {
  local build=build/static
  (
    distribution_flags
    cmake -S . -B "${build}" -G Ninja -DCMAKE_BUILD_TYPE=Release -DBUILD_SHARED_LIBS=OFF -DSL_BUILD_TESTS=OFF \
      -DCMAKE_{C,CXX}_COMPILER_LAUNCHER=ccache && cmake --build "${build}" && cmake --install "${build}" --prefix "${build}/prefix"
  ) >"${build}.log" 2>&1 || {
    tail -n 20 "${build}.log"
    return 1
  }
  "${build}/prefix/bin/sl" run "${VAD_MODEL}" "${SPEECH}" --stream | tail -n 3
  CONSUMER_MODEL="${LOCAL_MODEL}" tests/install/consume build/consumers "${PWD}/${build}/prefix" static
}

# try_subproject LINKAGE
try_subproject() {
  CONSUMER_MODEL="${LOCAL_MODEL}" tests/install/subproject/check "${PWD}" build/subproject "$1" -G Ninja -DSL_WERROR=ON \
    -DCMAKE_{C,CXX}_COMPILER_LAUNCHER=ccache >"build/subproject.$1.log" 2>&1 || {
    tail -n 20 "build/subproject.$1.log"
    return 1
  }
  grep '^ok' "build/subproject.$1.log"
}

readonly LOCAL_MODEL="${VAD_MODEL} build/suite/vad/input.bin build/suite/vad/expected.bin"
apt_install debootstrap ccache ninja-build
packaging/deb
step "Debian packages where nothing else is"
try_packages
packaging/tarball
step "The archive where nothing else is"
try_archive
step "The static library alone"
try_static_library
step "A part of another project"
try_subproject shared
try_subproject static
step "Sizes"
(cd build && ls -l deb/*.deb tarball/package/*.tar.xz) | awk '{ printf "%6.1f MB  %s\n", $5 / 1e6, $9 }'
