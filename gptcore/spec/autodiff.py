"""A tape of the NumPy float64 operations that the reference needs, each with its derivative."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Pullback = Callable[[Array], Array]  # gradient of the output -> gradient of one input


class Variable:
    """A value, and how gradients flow from it to what it was made from.

    >>> x = Variable(np.array([1.0, 2.0]))
    >>> backward((x * x).sum())
    >>> x.gradient.tolist()
    [2.0, 4.0]
    """

    def __init__(self, value: Any, parents: Sequence[tuple[Variable, Pullback]] = ()) -> None:
        self.value: Array = np.asarray(value, np.float64)
        self.parents = parents
        self.gradient: Array | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the value."""
        return self.value.shape

    def __add__(self, other: Variable) -> Variable:
        return Variable(
            self.value + other.value,
            [(self, lambda g: _unbroadcast(g, self.shape)), (other, lambda g: _unbroadcast(g, other.shape))],
        )

    def __mul__(self, other: Variable) -> Variable:
        return Variable(
            self.value * other.value,
            [
                (self, lambda g: _unbroadcast(g * other.value, self.shape)),
                (other, lambda g: _unbroadcast(g * self.value, other.shape)),
            ],
        )

    def __matmul__(self, other: Variable) -> Variable:
        """Matrix product over the last two axes; the right factor has two axes, or as many as the left."""
        return Variable(
            self.value @ other.value,
            [
                (self, lambda g: g @ other.value.swapaxes(-1, -2)),
                (other, lambda g: _matmul_right(self.value, g, other.value.ndim)),
            ],
        )

    def __getitem__(self, index: Any) -> Variable:
        """Select; entries that are taken several times collect all their gradients."""
        return Variable(self.value[index], [(self, lambda g: _scatter(g, index, self.shape))])

    def reshape(self, *shape: int) -> Variable:
        """Same entries, other shape."""
        return Variable(self.value.reshape(shape), [(self, lambda g: g.reshape(self.shape))])

    def swapaxes(self, a: int, b: int) -> Variable:
        """Exchange two axes."""
        return Variable(self.value.swapaxes(a, b), [(self, lambda g: g.swapaxes(a, b))])

    def sum(self, axis: int | None = None) -> Variable:
        """Sum over one axis, or all."""

        def spread(g: Array) -> Array:
            return np.broadcast_to(g if axis is None else np.expand_dims(g, axis), self.shape)

        return Variable(self.value.sum(axis), [(self, spread)])

    def scaled(self, factor: Any) -> Variable:
        """Times a constant number or array."""
        return self * Variable(factor)


def elementwise(x: Variable, value: Array, slope: Array) -> Variable:
    """A function applied to each entry, given its values and slopes."""
    return Variable(value, [(x, lambda g: g * slope)])


def softmax(x: Variable, allowed: NDArray[np.bool_]) -> Variable:
    """Softmax over the last axis, exactly 0 where not ``allowed``."""
    scores = np.where(allowed, x.value, -np.inf)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    y = weights / weights.sum(-1, keepdims=True)
    return Variable(y, [(x, lambda g: y * (g - (g * y).sum(-1, keepdims=True)))])


def standardize(x: Variable, epsilon: float) -> Variable:
    """Zero mean and unit variance over the last axis: a LayerNorm before gain and shift."""
    centered = x.value - x.value.mean(-1, keepdims=True)
    scale = 1 / np.sqrt((centered**2).mean(-1, keepdims=True) + epsilon)
    y = centered * scale

    def pull(g: Array) -> Array:
        pulled: Array = scale * (g - g.mean(-1, keepdims=True) - y * (g * y).mean(-1, keepdims=True))
        return pulled

    return Variable(y, [(x, pull)])


def log_softmax(x: Variable) -> Variable:
    """Log of the softmax over the last axis."""
    shifted = x.value - x.value.max(-1, keepdims=True)
    y = shifted - np.log(np.exp(shifted).sum(-1, keepdims=True))
    return Variable(y, [(x, lambda g: g - np.exp(y) * g.sum(-1, keepdims=True))])


def backward(output: Variable) -> None:
    """Set ``gradient`` of every leaf that the scalar ``output`` was made from; inner ones are freed once used."""
    output.gradient = np.ones_like(output.value)
    for variable in reversed(_in_order(output)):
        assert variable.gradient is not None  # in order, a consumer always comes first
        for parent, pull in variable.parents:
            share = pull(variable.gradient)
            parent.gradient = share if parent.gradient is None else parent.gradient + share
        if variable.parents:
            variable.gradient = None


def _in_order(output: Variable) -> list[Variable]:
    """Everything behind ``output``, parents before children."""
    order: list[Variable] = []
    seen: set[int] = set()
    stack = [(output, False)]
    while stack:
        variable, expanded = stack.pop()
        if expanded:
            order.append(variable)
        elif id(variable) not in seen:
            seen.add(id(variable))
            stack.append((variable, True))
            stack.extend((parent, False) for parent, _ in variable.parents)
    return order


def _unbroadcast(g: Array, shape: tuple[int, ...]) -> Array:
    """Sum over the axes along which a value of ``shape`` was repeated."""
    g = g.sum(tuple(range(g.ndim - len(shape))))
    repeated = tuple(i for i, size in enumerate(shape) if size == 1 and g.shape[i] != 1)
    return g.sum(repeated, keepdims=True) if repeated else g


def _matmul_right(left: Array, g: Array, axes: int) -> Array:
    """Gradient of the right factor; a matrix collects it over all leading axes of the left."""
    if axes == 2:
        return left.reshape(-1, left.shape[-1]).T @ g.reshape(-1, g.shape[-1])
    return left.swapaxes(-1, -2) @ g


def _scatter(g: Array, index: Any, shape: tuple[int, ...]) -> Array:
    target = np.zeros(shape)
    parts = index if isinstance(index, tuple) else (index,)
    if any(isinstance(part, np.ndarray) for part in parts):
        np.add.at(target, index, g)  # an id may occur twice
    else:
        target[index] = g
    return target
