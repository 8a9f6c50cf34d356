"""Imports ONNX graphs as streaming models.

  imported = import_file('model.onnx', streaming=True)
  report = run(imported, 'model/')

`sl_import` does the same from a shell.
"""

from sequence_layers_import.importing import Report, run
from sequence_layers_import.onnx_model import Imported, import_file, import_graph
from sequence_layers_import.refusal import Refusal

__all__ = ['Imported', 'Refusal', 'Report', 'import_file', 'import_graph', 'run']
