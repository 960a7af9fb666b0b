"""Fourier transforms."""

import numpy as np


def fourier(x, length, axis, inverse, onesided):
    """The Fourier transform of numbers whose real and imaginary parts are the last axis; onesided: of real ones."""
    z = x[..., 0] + 1j * x[..., 1] if x.shape[-1] == 2 else x[..., 0]
    if inverse and onesided:
        return np.fft.irfft(z, length, axis)[..., np.newaxis].astype(x.dtype)
    y = np.fft.ifft(z, length, axis) if inverse else np.fft.fft(z, length, axis)
    if onesided:
        y = np.take(y, np.arange(length // 2 + 1), axis)
    return np.stack([y.real, y.imag], axis=-1).astype(x.dtype)


def frames(x, length, step):
    """Pieces of a signal, one every step: of (batch, time, parts), (batch, pieces, length, parts)."""
    starts = np.arange(0, x.shape[1] - length + 1, step)
    return x[:, starts[:, np.newaxis] + np.arange(length)]
