"""Pipes: audio of any number of frames a call through a model, at the host's rate and with its channels."""

import ctypes

import numpy as np
import numpy.typing as npt

from sequence_layers_runtime import abi
from sequence_layers_runtime.handles import Closable, Handle

# Names in the order of the enums sl_pipe_channels and sl_pipe_quality.
_CHANNELS = ('default', 'each', 'mix', 'model')
_QUALITIES = ('default', 'fast', 'medium', 'best')

Frames = npt.NDArray[np.float32]


class Pipe(Closable):
    """A front of a stream for audio, which takes any number of frames a call and gives as many.

    It is for models whose input and output are audio: float32, one scalar or a row of channels a step,
    one output step for each input step. Arrays are [channels, frames] of float32. The output is late by
    `latency` frames, exactly, at any sizes of calls. One thread at a time uses a pipe.
    """

    def __init__(
        self,
        parent: Handle,
        *,
        channels: str = 'default',
        host_rate: float = 0.0,
        model_rate: float = 0.0,
        host_channels: int = 0,
        max_frames: int = 4096,
        min_latency: int = 0,
        fade_frames: int = 0,
        dry: float = 0.0,
        quality: str = 'default',
    ):
        """Makes a pipe at the start of its stream; 0 stands for the default.

        Args:
          parent: The handle of the layer.
          channels: 'each': a model of one channel hears each of the host's alone; 'mix': it hears their
            mean; 'model': the model's channels are the host's; 'default': 'each' for a model that makes
            one channel of one, otherwise 'model'.
          host_rate: Frames a second; default: those of the model.
          model_rate: Steps a second of the model; default: the "sample_rate" of its metadata.
          host_channels: 1 to 128; default: those of the model.
          max_frames: Maximum of frames in one call of the library; longer arrays take several.
          min_latency: Frames that the latency is at least.
          fade_frames: Frames of a cross-fade after a swap; default: a fiftieth of a second.
          dry: Share of the input in the output, 0 to 1.
          quality: How well sample rates are converted: 'fast', 'medium' (the default), 'best'.
        """
        options = abi.sized(abi.PipeOptions)
        options.channels = abi.enum_index(_CHANNELS, channels, 'channels')
        options.quality = abi.enum_index(_QUALITIES, quality, 'quality')
        options.host_rate, options.model_rate = host_rate, model_rate
        options.host_channels, options.max_frames = host_channels, max_frames
        options.min_latency, options.fade_frames, options.dry = min_latency, fade_frames, dry
        pointer = ctypes.c_void_p()
        abi.call('sl_pipe_create', parent, ctypes.byref(options), ctypes.byref(pointer))
        self._handle = Handle(pointer, abi.load().sl_pipe_free, parent)
        self._max_frames = max_frames or 4096

    @property
    def host_channels(self) -> int:
        """Number of channels."""
        channels: int = abi.load().sl_pipe_host_channels(self.handle)
        return channels

    @property
    def latency(self) -> int:
        """Frames by which the output is late. Changes with `swap` only."""
        latency: int = abi.load().sl_pipe_latency(self.handle)
        return latency

    @property
    def is_fading(self) -> bool:
        """Whether the model of before the last `swap` is still heard."""
        return bool(abi.load().sl_pipe_is_fading(self.handle))

    def process(self, frames: npt.ArrayLike) -> Frames:
        """Takes the next frames [channels, frames], of any number, and gives as many.

        Raises:
          ValueError: The array has another number of channels.
          SequenceLayersError: The model failed. Every call then fails until the pipe is reset.
        """
        x = np.ascontiguousarray(frames, np.float32)
        if x.ndim != 2 or x.shape[0] != self.host_channels:
            raise ValueError(f'the frames are {x.shape}: expected [{self.host_channels}, frames]')
        y = np.empty_like(x)
        for begin in range(0, x.shape[1], self._max_frames):
            part = np.s_[:, begin : begin + self._max_frames]
            size = x[part].shape[1]
            abi.call('sl_pipe_process', self.handle, _pointers(x[part]), _pointers(y[part]), size)
        self._release_retired()
        return y

    def flush(self) -> Frames:
        """Ends the input and gives what is still to come: `latency` frames."""
        y = np.empty((self.host_channels, self.latency), np.float32)
        done = 0
        while done < y.shape[1]:
            rest = y[:, done : done + self._max_frames]
            done += abi.count('sl_pipe_flush', self.handle, _pointers(rest), rest.shape[1])
        return y

    def reset(self) -> None:
        """Returns to the start of the stream, and ends a cross-fade."""
        abi.call('sl_pipe_reset', self.handle)
        self._release_retired()

    def set_dry(self, dry: float) -> None:
        """Sets the share of the input, late by `latency`, in the output: 0 to 1."""
        abi.call('sl_pipe_set_dry', self.handle, dry)

    def swap(self, following: 'Pipe') -> None:
        """Exchanges the model for that of `following`, which is at its start.

        That pipe was made for the same rate, channels and frames, and is closed by this. The old model
        is heard until the new one has had `latency` frames, and then fades into it.

        Raises:
          SequenceLayersError: The pipe is of another kind, or a cross-fade has not ended.
        """
        old, new = self.handle, following.handle
        abi.call('sl_pipe_swap', old, new)
        old.exchange_parents(new)
        # The cross-fade hears the old model, which the other handle has now.
        old.kept = [new]
        following.close()
        self._release_retired()

    def _release_retired(self) -> None:
        if self.handle.kept and not self.is_fading:
            self.handle.kept.clear()


def _pointers(frames: Frames) -> ctypes.Array[ctypes.c_void_p]:
    """Pointers to the channels."""
    address, stride = frames.ctypes.data, frames.strides[0]
    return (ctypes.c_void_p * len(frames))(*(address + i * stride for i in range(len(frames))))
