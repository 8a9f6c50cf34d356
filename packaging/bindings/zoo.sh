# Pretrained models of packages on PyPI: each is imported and compared with its original, whole and streamed.
packaging/setup.sh --zoo
PYTHONPATH=packaging/python SEQUENCE_LAYERS_LIBRARY=build/release/libsequence_layers.so \
  .deps/zoo-venv/bin/python -m unittest -v packaging/python/tests/test_zoo.py \
  packaging/python/tests/test_plain_modules.py
