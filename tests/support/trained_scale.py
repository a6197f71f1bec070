"""Random weights of the size that training gives them.

Fresh weights, N(0, 0.02), leave activations so small that most wrong formulas agree with the right one. These reach
the curved parts of GELU and softmax, move the LayerNorms off 1 and 0, and give every bias a value.
"""

from collections.abc import Iterator

import numpy as np

from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.parameters import Head, Kind, Parameter, parameters


def trained_scale(config: OpenAIGPTConfig, head: Head, seed: int = 0) -> Iterator[tuple[str, np.ndarray]]:
    """Yield canonical name and float32 values of every parameter of a model."""
    stream = np.random.default_rng(seed)
    for parameter in parameters(config, head).values():
        mean = 1.0 if parameter.kind is Kind.SCALE else 0.0
        values = stream.standard_normal(parameter.shape, dtype=np.float32)
        values *= np.float32(deviation(parameter, config))
        yield parameter.name, values + np.float32(mean)


def deviation(parameter: Parameter, config: OpenAIGPTConfig) -> float:
    """Standard deviation by kind; kernels and logits keep their scale at any width."""
    if parameter.kind is Kind.EMBEDDING:
        return 4 / config.n_embd**0.5
    if parameter.kind is Kind.KERNEL:
        return 1.5 / parameter.shape[0] ** 0.5
    if parameter.kind is Kind.LINEAR:
        return 1.5 / parameter.shape[1] ** 0.5
    return 0.2
