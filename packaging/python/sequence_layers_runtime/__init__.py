"""Runs models with libsequence_layers, through its C ABI by ctypes. Needs NumPy and nothing else.

  layer = Layer.open('model/')
  y, mask = layer.apply(x)              # a whole sequence [batch, time, ...]
  with layer.new_state() as state:      # a stream
      y, mask = state.step(x)           # its next block
  with layer.new_state(64) as state:    # 64 streams
      y, mask = state.step_slots([7, 0], x)  # the next blocks of two of them
  decoder = layer.new_decoder()         # tokens, each of which is the next input
  token, log_prob, mask = decoder.sample()
  pipe = layer.new_pipe(host_rate=48000)  # audio [channels, frames] of a host
  y = pipe.process(x)

Constants, where a model reads some, are given by name: a sequence as an array [batch, time, ...] or as
a pair of values and mask, all others as an `Array`. Layers in Python are subclasses of `CustomLayer`,
known to a `Registry`.

Arrays are of the library's dtypes: others, such as float64, are a TypeError. Arrays of the other byte
order, unaligned ones, and views with negative or zero strides are copied. bfloat16 is that of the package
ml_dtypes where it is installed, and otherwise `BFLOAT16`, which holds the bits.

The library is the one that the environment variable SEQUENCE_LAYERS_LIBRARY names. Without it, the one
in this package, as in a wheel, or else the installed one is loaded.
"""

from sequence_layers_runtime.abi import SequenceLayersError, version
from sequence_layers_runtime.arrays import BFLOAT16, Array, from_bfloat16, to_bfloat16
from sequence_layers_runtime.constants import ConstantInfo
from sequence_layers_runtime.custom import CustomLayer, Registry
from sequence_layers_runtime.decoder import Decoder
from sequence_layers_runtime.layer import Applier, Layer, LayerOptions, StepDifference
from sequence_layers_runtime.log import set_log
from sequence_layers_runtime.pipe import Pipe
from sequence_layers_runtime.profile import Profile
from sequence_layers_runtime.state import State, Stepper
from sequence_layers_runtime.views import ChannelSpec
from sequence_layers_runtime.weights import WeightSource

__all__ = [
    'BFLOAT16',
    'Applier',
    'Array',
    'ChannelSpec',
    'ConstantInfo',
    'CustomLayer',
    'Decoder',
    'Layer',
    'LayerOptions',
    'Pipe',
    'Profile',
    'Registry',
    'SequenceLayersError',
    'State',
    'StepDifference',
    'Stepper',
    'WeightSource',
    'from_bfloat16',
    'set_log',
    'to_bfloat16',
    'version',
]
