# Pretrained models of packages on PyPI and plain PyTorch modules: each is imported and compared with its original, whole and
# streamed.
packaging/setup.sh --zoo
PYTHONPATH=packaging/python:packaging/python/tests SEQUENCE_LAYERS_LIBRARY=build/release/libsequence_layers.so \
  .deps/zoo-venv/bin/python -m unittest -v test_zoo test_plain_modules
