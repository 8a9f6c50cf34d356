"""16-bit mono WAV files as float32 in [-1, 1)."""

import pathlib
import wave

import numpy as np


def read(path: str | pathlib.Path) -> tuple[np.ndarray, int]:
    """Reads samples, with channels averaged, and the sample rate."""
    with wave.open(str(path), 'rb') as file:
        if file.getsampwidth() != 2:
            raise ValueError(f'{path}: expected 16-bit samples, got {8 * file.getsampwidth()}-bit')
        data = np.frombuffer(file.readframes(file.getnframes()), '<i2')
        samples = data.reshape(-1, file.getnchannels()).astype(np.float32) / 32768
        return samples.mean(axis=1, dtype=np.float32), file.getframerate()


def write(path: str | pathlib.Path, samples: np.ndarray, rate: int) -> None:
    """Writes samples rounded and clipped to 16 bits."""
    data = np.clip(np.round(samples * 32768), -32768, 32767).astype('<i2')
    with wave.open(str(path), 'wb') as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(data.tobytes())
