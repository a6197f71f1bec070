"""Checks of the arguments of a model call, so that mistakes give the same errors in every framework.

Backends describe their tensors as ``ArrayInfo`` and call ``check_inputs`` on the host before work starts. Under
tracing (``torch.compile``, ``tf.function``, ``jax.jit``) values are unknown and only shapes and dtypes are checked.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gptcore.errors import ConfigError, InputError, warn_once
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.parameters import Head

IGNORED_LABEL = -100
"""The label of a token that does not count in the loss."""
NARROW_INTEGERS = ("uint8", "int8", "uint16", "int16", "uint32", "uint64")
"""Integer types of ids and labels that not every framework can index with; a model call widens them."""
ATTN_IMPLEMENTATIONS = ("sdpa", "eager")

Shape = tuple[int | None, ...]


@dataclass(frozen=True)
class ArrayInfo:
    """What the checks need to know about a tensor.

    Attributes:
        shape: Sizes; ``None`` where a traced size is unknown.
        dtype: NumPy's name of the dtype, or ``bfloat16``.
        values: Returns the values as a NumPy array; ``None`` under tracing.
    """

    shape: Shape
    dtype: str
    values: Callable[[], NDArray[Any]] | None = None

    @property
    def is_integer(self) -> bool:
        """Whether this can hold ids."""
        return self.dtype.startswith(("int", "uint"))

    @property
    def is_floating(self) -> bool:
        """Whether this can hold activations."""
        return "float" in self.dtype


@dataclass(frozen=True)
class CacheInfo:
    """What the checks need to know about a KV cache.

    Attributes:
        batch: Number of rows; ``None`` if unknown.
        capacity: Number of slots; ``None`` if unknown.
        length: Number of filled slots, or ``None`` under tracing.
        sizes: Sizes of its model: layers, heads, and the width of a head.
        dtype: NumPy's name of the dtype, or ``bfloat16``.
    """

    batch: int | None
    capacity: int | None
    length: int | None
    sizes: Shape
    dtype: str


def cache_info(cache: Any, dtype: str) -> CacheInfo | None:
    """The description of ``past_key_values``, or ``None`` without one.

    Args:
        cache: The argument of the call.
        dtype: The dtype in which the model computes.

    Raises:
        InputError: The argument is not a ``KVCache`` (but, for example, a cache of transformers), or has another dtype.
    """
    if cache is not None and not hasattr(cache, "info"):
        expected = "the KVCache that the model returned with use_cache=True"
        raise InputError(f"past_key_values must be {expected}; got {type(cache).__name__}.")
    info: CacheInfo | None = None if cache is None else cache.info()
    if info is not None and info.dtype != dtype:
        raise InputError(
            f"past_key_values must be {dtype}, like the model; got {info.dtype}. Create it with this dtype."
        )
    return info


def cache_length(length: Any) -> int:
    """The number of filled slots of a KV cache, the same for all rows; an ``InputError`` for anything else."""
    try:
        number = operator.index(length)
    except (TypeError, AttributeError):  # the latter from TensorFlow
        number = -1
    if number < 0:
        raise InputError(
            f"the length of past_key_values must be one integer, at least 0, for all rows; got {length}. To drop "
            "tokens of some rows, set their slots in past_key_values.attended to False."
        )
    return number


def check_inputs(
    config: OpenAIGPTConfig, head: Head, inputs: Mapping[str, ArrayInfo | None], cache: CacheInfo | None = None
) -> None:
    """Check all arguments of one call: shapes, dtypes, then values.

    Args:
        config: The config, which sets the limits.
        head: The head, which determines the shape and dtype of labels.
        inputs: Argument name -> description, ``None`` if it was not passed.
        cache: Description of ``past_key_values``.

    Raises:
        InputError: An argument is invalid; the error names it, and says what is allowed and what to do.

    Warns:
        Once, if a classifier may read padding, or if a double-heads model reads padding because ``mc_token_ids`` is
        missing.
    """
    given = {name: info for name, info in inputs.items() if info is not None}
    shape = _check_ids(config, given)
    if cache is not None:
        _check_sizes(cache, config)
        _check_room(cache, shape)
    _warn_of_padding(config, head, given, shape)
    if "attention_mask" in given:
        with_past = [] if cache is None else [(*shape[:-1], _plus(cache.length, shape[-1]))]
        _check_shape("attention_mask", given["attention_mask"], shape, *with_past)
        _check_mask(given["attention_mask"])
    if "token_type_ids" in given:
        _check_shape("token_type_ids", given["token_type_ids"], shape)
        check_range("token_type_ids", given["token_type_ids"], 0, config.vocab_size, "vocab_size")
    if "position_ids" in given:
        _check_shape("position_ids", given["position_ids"], shape, (1, shape[-1]), shape[-1:])
        check_range("position_ids", given["position_ids"], 0, config.n_positions, "n_positions")
    if "head_mask" in given:
        _check_shape("head_mask", given["head_mask"], (config.n_head,), (config.n_layer, config.n_head))
    if "mc_token_ids" in given:
        _check_shape("mc_token_ids", given["mc_token_ids"], shape[:-1])
        check_range("mc_token_ids", given["mc_token_ids"], 0, shape[-1], "the sequence length")
    if "labels" in given and head is Head.SEQUENCE_CLASSIFICATION:
        _check_class_labels(config, given["labels"], shape[:-1])
    elif "labels" in given:
        _check_shape("labels", given["labels"], shape)
        check_range("labels", given["labels"], 0, config.vocab_size, "vocab_size", ignored=True)
    if "mc_labels" in given:
        _check_mc_labels(config, given["mc_labels"], shape)


def check_task(
    config: OpenAIGPTConfig, head: Head, shape: Shape, extract_positions: ArrayInfo | None, targets: ArrayInfo
) -> None:
    """Check the other arrays of a task's batch, as ``check_inputs`` does.

    Args:
        config: The config, which sets the limits.
        head: The head of the task.
        shape: The shape of the ids.
        extract_positions: One position per sequence; ``None`` if it was not passed.
        targets: One target per example.
    """
    if extract_positions is not None:
        _check_shape("extract_positions", extract_positions, shape[:-1])
        check_range("extract_positions", extract_positions, 0, shape[-1], "the sequence length")
    if head is Head.DOUBLE_HEADS:
        _check_mc_labels(config, targets, shape, "targets")
    else:
        _check_class_labels(config, targets, shape[:1], "targets")


def as_array(name: str, value: Any) -> NDArray[Any]:
    """Convert an argument that is not a tensor of the framework (an array, or a list of rows) to a NumPy array.

    Raises:
        InputError: The argument is text or a mapping, has rows of different lengths, or holds anything but numbers.
    """
    if isinstance(value, Mapping):
        raise InputError(f"{name} must be an array; got {type(value).__name__}. Pass its entries: model(**inputs).")
    try:
        array = np.array(value, order="C")
    except ValueError as cause:
        raise InputError(
            f"{name} must have rows of equal length. Pad the shorter rows, and pass attention_mask."
        ) from cause
    if array.dtype.kind in "US":
        raise InputError(
            f"{name} must be numbers; got text. Use the tokenizer: model(**tokenizer(text, return_tensors=...))."
        )
    if array.dtype.name == "bfloat16":  # a dtype of JAX and TensorFlow that NumPy lacks
        return array.astype(np.float32)
    if array.dtype.kind not in "biuf":
        raise InputError(f"{name} must be an array of numbers; got {type(value).__name__} of dtype {array.dtype}.")
    if isinstance(value, (list, tuple)) and not array.size:
        return array.astype(np.int64)  # NumPy would make it float64
    return array.astype(array.dtype.newbyteorder("="), copy=False)


def check_capacity(config: OpenAIGPTConfig, capacity: int | None) -> int:
    """Return the number of slots of a KV cache, by default ``n_positions``; an ``InputError`` if out of range."""
    if capacity is None:
        return config.n_positions
    if not 1 <= capacity <= config.n_positions:
        raise InputError(f"capacity must be 1 to n_positions={config.n_positions}; got {capacity}.")
    return capacity


def check_attn_implementation(name: str) -> str:
    """Return ``name``; raise a ``ConfigError`` if it is not one of ``ATTN_IMPLEMENTATIONS``."""
    if name not in ATTN_IMPLEMENTATIONS:
        raise ConfigError(
            f"attn_implementation must be one of {', '.join(map(repr, ATTN_IMPLEMENTATIONS))}; got {name!r}."
        )
    return name


def check_quantization(kind: str | None, kinds: tuple[str, ...] = ()) -> None:
    """Raise a ``ConfigError`` if ``kind`` is neither ``None`` nor one of the ``kinds`` that a framework supports."""
    if kind is not None and kind not in kinds:
        allowed = " or ".join(map(repr, (None, *kinds)))
        advice = "" if kinds else " Only gpt_torch supports 'int8'."
        raise ConfigError(f"quantization must be {allowed}; got {kind!r}.{advice}")


def problem_type(config: OpenAIGPTConfig, labels: ArrayInfo) -> str:
    """The loss of the sequence classification head: as configured, or else by ``num_labels`` and dtype."""
    if config.problem_type is not None:
        return config.problem_type
    if config.num_labels == 1:
        return "regression"
    return "single_label_classification" if labels.is_integer else "multi_label_classification"


def _check_ids(config: OpenAIGPTConfig, given: Mapping[str, ArrayInfo]) -> Shape:
    """Check ``input_ids`` or ``inputs_embeds`` and return the shape of the ids."""
    if ("input_ids" in given) == ("inputs_embeds" in given):
        passed = "both" if "input_ids" in given else "neither"
        raise InputError(f"pass either input_ids or inputs_embeds; got {passed}.")
    if "input_ids" in given:
        ids = given["input_ids"]
        if len(ids.shape) < 2:
            raise InputError(f"input_ids must have shape (batch, ..., sequence); got {ids.shape}.")
        check_range("input_ids", ids, 0, config.vocab_size, "vocab_size")
        shape = ids.shape
    else:
        embeds = given["inputs_embeds"]
        if len(embeds.shape) < 3 or not _fits(embeds.shape[-1:], (config.n_embd,)):
            raise InputError(
                f"inputs_embeds must have shape (batch, ..., sequence, n_embd={config.n_embd}); got {embeds.shape}."
            )
        if not embeds.is_floating:
            raise InputError(f"inputs_embeds must have a floating-point dtype; got {embeds.dtype}.")
        shape = embeds.shape[:-1]
    length = shape[-1]
    if length is not None and not 1 <= length <= config.n_positions:
        raise InputError(
            f"the sequence must have 1 to n_positions={config.n_positions} tokens; got {length}. Shorten it or split "
            "it into windows."
        )
    if 0 in shape:
        raise InputError(f"the batch must have at least one row; got shape {shape}.")
    return shape


def _check_sizes(cache: CacheInfo, config: OpenAIGPTConfig) -> None:
    """Check that the cache was made for a model of these sizes."""
    sizes = (config.n_layer, config.n_head, config.n_embd // config.n_head)
    if not _fits(cache.sizes, sizes):
        raise InputError(
            f"past_key_values must have (layers, heads, head size) {sizes}; got {cache.sizes}. Create it with the "
            "config of this model."
        )


def _check_room(cache: CacheInfo, shape: Shape) -> None:
    """Check that the cache has as many rows as the input, and room for the new tokens."""
    rows = None if None in shape[:-1] else math.prod(shape[:-1])  # type: ignore[arg-type]
    if not _fits((rows,), (cache.batch,)):
        raise InputError(f"past_key_values must have {rows} rows, like the input; got {cache.batch}.")
    total = _plus(cache.length, shape[-1])
    if total is not None and cache.capacity is not None and total > cache.capacity:
        raise InputError(
            f"cannot cache {cache.length} + {shape[-1]} = {total} tokens: past_key_values has {cache.capacity} slots. "
            "Create it with a larger capacity (at most n_positions), or pass fewer tokens."
        )


def _plus(a: int | None, b: int | None) -> int | None:
    """The sum if both are known, else ``None``."""
    return None if a is None or b is None else a + b


def _check_shape(name: str, info: ArrayInfo, *allowed: Shape) -> None:
    if not any(_fits(info.shape, shape) for shape in allowed):
        options = " or ".join(dict.fromkeys(str(shape) for shape in allowed))
        raise InputError(f"{name} must have shape {options}; got {info.shape}.")


def _fits(shape: Shape, expected: Shape) -> bool:
    """Whether two shapes are equal in all known dimensions."""
    if len(shape) != len(expected):
        return False
    return all(a is None or b is None or a == b for a, b in zip(shape, expected, strict=True))


def check_range(name: str, info: ArrayInfo, low: int, high: int | None, limit: str, *, ignored: bool = False) -> None:
    """Check that ids are integers in [low, high), or -100 if ``ignored``."""
    if not info.is_integer:
        raise InputError(f"{name} must have an integer dtype; got {info.dtype}.")
    if info.values is None or high is None:
        return
    values = info.values()
    valid = (values >= low) & (values < high)
    if ignored:
        valid |= values == IGNORED_LABEL
    if not valid.all():
        index = tuple(int(i) for i in np.argwhere(~valid)[0])
        also = f" or {IGNORED_LABEL} (ignored)" if ignored else ""
        raise InputError(
            f"{name}{list(index)} must be {low} to {high - 1}{also} ({limit}={high}); got {int(values[index])}."
        )


def _check_mask(info: ArrayInfo) -> None:
    if not (info.is_integer or info.is_floating or info.dtype == "bool"):
        raise InputError(f"attention_mask must have an integer, floating-point or bool dtype; got {info.dtype}.")
    if info.values is not None:
        values = info.values()
        if not np.isin(values, (0, 1)).all():
            wrong = values[~np.isin(values, (0, 1))].flat[0]
            raise InputError(f"attention_mask must hold 1 (attend) and 0 (ignore) only; got {wrong}.")


def _warn_of_padding(config: OpenAIGPTConfig, head: Head, given: Mapping[str, ArrayInfo], shape: Shape) -> None:
    """Warn if a head reads the last column of rows in which that column is padding, or may be."""
    rows, length = shape[:-1], shape[-1]
    mask = given.get("attention_mask")
    unknown = mask is None and config.pad_token_id is None and length != 1 and any(size != 1 for size in rows)
    if head is Head.SEQUENCE_CLASSIFICATION and unknown:
        warn_once(
            "The classifier reads the last column of every row, because it got several rows without attention_mask and "
            "config.pad_token_id is None. Pass attention_mask if rows are padded."
        )
    ends = head is Head.DOUBLE_HEADS and "mc_token_ids" not in given
    if ends and mask is not None and mask.values is not None and not mask.values()[..., -1].all():
        warn_once(
            "The multiple-choice head reads the last column of every choice, which is padding in some of them. "
            "Pass mc_token_ids, the position of the last token of each choice."
        )


def _check_class_labels(config: OpenAIGPTConfig, labels: ArrayInfo, rows: Shape, name: str = "labels") -> None:
    kind = problem_type(config, labels)
    if kind == "multi_label_classification" and config.problem_type is None and _fits(labels.shape, rows):
        raise InputError(
            f"{name} must be integers, or floats of shape {(*rows, config.num_labels)} for several labels at once; "
            f"got dtype {labels.dtype} and shape {labels.shape}. Cast class indices to integers."
        )
    if kind == "single_label_classification":
        _check_shape(name, labels, rows)
        check_range(name, labels, 0, config.num_labels, "num_labels", ignored=True)
        return
    per_label = (*rows, config.num_labels)
    _check_shape(name, labels, per_label, *([rows] if config.num_labels == 1 else []))
    if kind == "multi_label_classification" and not labels.is_floating:
        raise InputError(f"{name} must have a floating-point dtype for multi_label_classification; got {labels.dtype}.")


def _check_mc_labels(config: OpenAIGPTConfig, labels: ArrayInfo, shape: Shape, name: str = "mc_labels") -> None:
    """One choice per example; without a projection to one score, one class per choice."""
    to_scores = (config.summary_use_proj and config.summary_proj_to_labels) or config.n_embd == 1
    expected, classes = (shape[:-2], shape[-2]) if to_scores else (shape[:-1], config.n_embd)
    _check_shape(name, labels, expected)
    check_range(name, labels, 0, classes, "the number of choices" if to_scores else "n_embd", ignored=True)
