"""Runs models with libsequence_layers, through its C ABI by ctypes. Needs NumPy and nothing else.

  layer = Layer.open('model/')
  y, mask = layer.apply(x)              # a whole sequence [batch, time, ...]
  with layer.new_state() as state:      # a stream
      y, mask = state.step(x)           # its next block
  decoder = layer.new_decoder()         # tokens, each of which is the next input
  token, log_prob, mask = decoder.sample()

Constants, where a model reads some, are given by name: a sequence as an array [batch, time, ...] or as
a pair of values and mask, all others as an `Array`.

Arrays are of the library's dtypes: others, such as float64, are a TypeError. Arrays of the other byte
order, unaligned ones, and views with negative or zero strides are copied.

The library is the one that the environment variable SEQUENCE_LAYERS_LIBRARY names. Without it, the
installed one is loaded.
"""

from sequence_layers_runtime.abi import SequenceLayersError
from sequence_layers_runtime.arrays import Array
from sequence_layers_runtime.constants import ConstantInfo
from sequence_layers_runtime.decoder import Decoder
from sequence_layers_runtime.layer import Applier, Layer, StepDifference
from sequence_layers_runtime.state import State, Stepper

__all__ = [
    'Applier',
    'Array',
    'ConstantInfo',
    'Decoder',
    'Layer',
    'SequenceLayersError',
    'State',
    'StepDifference',
    'Stepper',
]
