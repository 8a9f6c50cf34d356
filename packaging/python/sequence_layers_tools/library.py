"""The binding under its former name, for scripts that import it: new code uses sequence_layers_runtime."""

from sequence_layers_runtime import (
    Applier,
    Array,
    ConstantInfo,
    Decoder,
    Layer,
    SequenceLayersError,
    State,
    StepDifference,
    Stepper,
)
from sequence_layers_runtime.abi import load
from sequence_layers_runtime.constants import Constants
from sequence_layers_runtime.outputs import Emits

__all__ = [
    'Applier',
    'Array',
    'ConstantInfo',
    'Constants',
    'Decoder',
    'Emits',
    'Layer',
    'SequenceLayersError',
    'State',
    'StepDifference',
    'Stepper',
    'load',
]
