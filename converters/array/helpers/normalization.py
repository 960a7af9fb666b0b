"""Normalization: means and deviations of batches, channels and groups."""

import numpy as np


def per_channel(values, x):
    """One number for each channel, in a shape that fits x (batch, channels, ...)."""
    return values.reshape(-1, *[1] * (x.ndim - 2))


def standardized(x, axes, epsilon):
    """x with mean 0 and deviation 1 over some axes; epsilon keeps it from dividing by 0."""
    x = x - x.mean(axis=axes, keepdims=True)
    return x / root_mean_square(x, axes, epsilon)


def root_mean_square(x, axes, epsilon):
    """The root of the mean square over some axes; epsilon keeps it from being 0."""
    return np.sqrt((x * x).mean(axis=axes, keepdims=True) + epsilon)


def length(x, axis, keepdims=False):
    """The root of the sum of squares over some axes."""
    return np.sqrt((x * x).sum(axis=axis, keepdims=keepdims))


def divided_by_length(x, lengths):
    """x / lengths, and 0 where they are 0."""
    return np.where(lengths == 0, 0, x / np.where(lengths == 0, 1, lengths))


def batch_norm(x, scale, bias, mean, variance, epsilon):
    """Take off each channel's mean, divide by its deviation, both known from training; then scale and shift."""
    factor = scale / np.sqrt(variance + epsilon)
    return (x - per_channel(mean, x)) * per_channel(factor, x) + per_channel(bias, x)


def batch_norm_of_batch(x, scale, bias, mean, variance, epsilon, momentum):
    """batch_norm with the mean and deviation of this batch; also returns the running ones, moved towards these."""
    axes = (0, *range(2, x.ndim))
    now, spread = x.mean(axis=axes), x.var(axis=axes)
    y = batch_norm(x, scale, bias, now, spread, epsilon)
    return y, mean * momentum + now * (1 - momentum), variance * momentum + spread * (1 - momentum)


def instance_norm(x, scale, bias, epsilon):
    """Each channel of each example with mean 0 and deviation 1; then scale and shift."""
    x = standardized(x, tuple(range(2, x.ndim)), epsilon)
    return x * per_channel(scale, x) + per_channel(bias, x)


def group_norm(x, scale, bias, groups, epsilon):
    """Groups of channels of each example with mean 0 and deviation 1; then scale and shift each channel."""
    grouped = standardized(x.reshape(x.shape[0], groups, -1), 2, epsilon).reshape(x.shape)
    return grouped * per_channel(scale, x) + per_channel(bias, x)


def local_response_norm(x, size, alpha, beta, bias):
    """Divide by what the squares of neighbouring channels add up to."""
    before = (size - 1) // 2
    around = [(0, 0), (before, size - 1 - before)] + [(0, 0)] * (x.ndim - 2)
    squares = np.pad(x * x, around)
    total = sum(squares[:, first : first + x.shape[1]] for first in range(size))
    return x / (bias + alpha / size * total) ** beta
