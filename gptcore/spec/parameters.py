"""THE parameter table: every tensor of the four models, its shape, its role and its first value.

Axis letters: ``V`` vocabulary, ``P`` positions, ``C`` n_embd, ``F`` feed-forward (4 C), ``K`` num_labels,
``M`` outputs of the multiple-choice projection.

Kernels are stored (in, out), as in OpenAI's code; ``LINEAR`` weights are stored (out, in), as the published
head weights are. The language-modelling head has no row: it is the token embedding, used twice.
"""

from __future__ import annotations

import enum
import hashlib
import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gptcore.errors import ConfigError
from gptcore.spec.config import OpenAIGPTConfig


class Kind(enum.Enum):
    """The role of a tensor, which determines its initial value and whether weight decay applies."""

    EMBEDDING = "embedding"  # looked up by row, (rows, C)
    KERNEL = "kernel"  # multiplied from the right, (in, out)
    LINEAR = "linear"  # multiplied transposed, (out, in)
    BIAS = "bias"
    SCALE = "scale"  # gain of a LayerNorm
    SHIFT = "shift"  # bias of a LayerNorm

    @property
    def decays(self) -> bool:
        """Whether weight decay applies: to all but biases and gains (Radford et al. 2018, section 4.1)."""
        return self in (Kind.EMBEDDING, Kind.KERNEL, Kind.LINEAR)


class Head(enum.Enum):
    """The head on the trunk, which is the transformer without a head: one member for each of the four models."""

    NONE = "model"
    LM = "lm"
    DOUBLE_HEADS = "double_heads"
    SEQUENCE_CLASSIFICATION = "sequence_classification"

    @property
    def architecture(self) -> str:
        """The published (PyTorch) class name, as in the ``architectures`` key of ``config.json``."""
        return ARCHITECTURES[self]


ARCHITECTURES = {
    Head.NONE: "OpenAIGPTModel",
    Head.LM: "OpenAIGPTLMHeadModel",
    Head.DOUBLE_HEADS: "OpenAIGPTDoubleHeadsModel",
    Head.SEQUENCE_CLASSIFICATION: "OpenAIGPTForSequenceClassification",
}


@dataclass(frozen=True)
class Row:
    """One kind of tensor: its canonical name (``{}`` is the layer), axis letters and kind."""

    name: str
    axes: str
    kind: Kind


TRUNK = (
    Row("tokens_embed.weight", "V C", Kind.EMBEDDING),
    Row("positions_embed.weight", "P C", Kind.EMBEDDING),
    Row("h.{}.attn.c_attn.weight", "C 3C", Kind.KERNEL),
    Row("h.{}.attn.c_attn.bias", "3C", Kind.BIAS),
    Row("h.{}.attn.c_proj.weight", "C C", Kind.KERNEL),  # square: shape checks cannot see a transpose
    Row("h.{}.attn.c_proj.bias", "C", Kind.BIAS),
    Row("h.{}.ln_1.weight", "C", Kind.SCALE),
    Row("h.{}.ln_1.bias", "C", Kind.SHIFT),
    Row("h.{}.mlp.c_fc.weight", "C F", Kind.KERNEL),
    Row("h.{}.mlp.c_fc.bias", "F", Kind.BIAS),
    Row("h.{}.mlp.c_proj.weight", "F C", Kind.KERNEL),
    Row("h.{}.mlp.c_proj.bias", "C", Kind.BIAS),
    Row("h.{}.ln_2.weight", "C", Kind.SCALE),
    Row("h.{}.ln_2.bias", "C", Kind.SHIFT),
)
SUMMARY = (
    Row("multiple_choice_head.summary.weight", "M C", Kind.LINEAR),
    Row("multiple_choice_head.summary.bias", "M", Kind.BIAS),
)
SCORE = (Row("score.weight", "K C", Kind.LINEAR),)
ROWS = TRUNK + SUMMARY + SCORE


@dataclass(frozen=True)
class Parameter:
    """One tensor of one model: canonical name, shape and kind."""

    name: str
    shape: tuple[int, ...]
    kind: Kind

    @property
    def size(self) -> int:
        """Number of entries."""
        return int(np.prod(self.shape))


def parameters(config: OpenAIGPTConfig, head: Head = Head.NONE) -> dict[str, Parameter]:
    """All tensors of a model by canonical name, in the order of the table.

    >>> table = parameters(OpenAIGPTConfig())
    >>> len(table), sum(p.size for p in table.values())
    (146, 116534784)
    """
    return {parameter.name: parameter for parameter in _expand(config, head)}


def head_rows(config: OpenAIGPTConfig, head: Head) -> tuple[Row, ...]:
    """The rows that a head adds to the trunk."""
    if head is Head.DOUBLE_HEADS and config.summary_use_proj:
        return SUMMARY
    return SCORE if head is Head.SEQUENCE_CLASSIFICATION else ()


def summary_width(config: OpenAIGPTConfig) -> int:
    """Outputs of the multiple-choice projection: one score per choice, or a vector of ``n_embd``."""
    return 1 if config.summary_proj_to_labels else config.n_embd


def feed_forward_width(config: OpenAIGPTConfig) -> int:
    """Width of the hidden layer of the feed-forward network, four times ``n_embd``."""
    return 4 * config.n_embd


def initial_value(parameter: Parameter, config: OpenAIGPTConfig, seed: int) -> NDArray[np.float32]:
    """The initial value of a tensor: random with mean 0 and standard deviation ``initializer_range``; zero for biases,
    one for gains.

    The numbers come from one counter-based stream per (seed, name), so that all frameworks start from the same
    weights, and adding a head does not change the initial weights of the trunk.

    Returns:
        float32 array of the parameter's shape.

    Raises:
        ConfigError: The seed is not an integer.
    """
    seed = check_seed(seed)
    if parameter.kind is Kind.SCALE:
        return np.ones(parameter.shape, np.float32)
    if not parameter.kind.decays:
        return np.zeros(parameter.shape, np.float32)
    digest = hashlib.sha256(f"{seed}/{parameter.name}".encode()).digest()
    stream = np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))
    value = stream.standard_normal(parameter.shape, dtype=np.float32)
    value *= np.float32(config.initializer_range)
    return value


def check_seed(seed: Any) -> int:
    """Return the seed of fresh weights as an integer; a ``ConfigError`` for anything else, such as a JAX key."""
    try:
        return operator.index(seed)
    except TypeError:
        raise ConfigError(f"seed must be an integer; got {type(seed).__name__}.") from None


def resized_embedding(values: NDArray[np.float32], config: OpenAIGPTConfig) -> NDArray[np.float32]:
    """Resize the token embedding to ``config.vocab_size``: existing rows are unchanged, new rows are random.

    Args:
        values: The old embedding, float32, (old vocabulary, C).
        config: The config with the new ``vocab_size``.

    Returns:
        float32, (new vocabulary, C); the same in every framework.
    """
    resized = initial_value(parameters(config)["tokens_embed.weight"], config, 0)
    kept = min(len(values), len(resized))
    resized[:kept] = values[:kept]
    return resized


def _expand(config: OpenAIGPTConfig, head: Head) -> Iterator[Parameter]:
    sizes = {
        "V": config.vocab_size,
        "P": config.n_positions,
        "C": config.n_embd,
        "3C": 3 * config.n_embd,
        "F": feed_forward_width(config),
        "K": config.num_labels,
        "M": summary_width(config),
    }
    per_model = [row for row in TRUNK if "{}" not in row.name]
    per_layer = [row for row in TRUNK if "{}" in row.name]
    expanded = [(row, row.name) for row in per_model]
    expanded += [(row, row.name.format(layer)) for layer in range(config.n_layer) for row in per_layer]
    expanded += [(row, row.name) for row in head_rows(config, head)]
    for row, name in expanded:
        yield Parameter(name, tuple(sizes[letter] for letter in row.axes.split()), row.kind)
