# The Node package: types, tests, a program outside the package, overhead per step. Node 18 or later is installed from Debian
# if it is missing. The package is built and tested as a copy, so that all that npm makes lands in build/node.
readonly NODE_OUT="${PWD}/build/node"

command -v npm >/dev/null || apt_install nodejs npm
export SEQUENCE_LAYERS_LIBRARY="${PWD}/build/release/libsequence_layers.so" SEQUENCE_LAYERS_SUITE="${PWD}/build/suite"
mkdir -p "${NODE_OUT}"
rm -rf "${NODE_OUT}/package"
cp -r capi/bindings/node "${NODE_OUT}/package"
(
  cd "${NODE_OUT}/package"
  npm ci --ignore-scripts --no-audit --no-fund >/dev/null # koffi comes with its library
  for file in lib/*.js test/*.js; do node --check "${file}"; done
  npm run --silent lint
  npm test --silent
)
