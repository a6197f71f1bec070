"""Helpers for the training steps of all frameworks: checks, the rows of a process, the seeds of dropout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gptcore.backends.training import Batch
from gptcore.errors import ConfigError, InputError, TrainingError
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.inputs import ArrayInfo, as_array, check_inputs, check_task
from gptcore.spec.parameters import Head
from gptcore.spec.random_numbers import threefry

MOMENTS = ("exp_avg", "exp_avg_sq")
"""Adam's running means of the gradient and of its square, under PyTorch's names."""


def check_weights(head: Head, dtype: str, others: Sequence[str] = ()) -> None:
    """Raise a ``ConfigError`` if a model cannot be trained.

    Args:
        head: The head of the model.
        dtype: The dtype of the weights.
        others: Names of parameters that a checkpoint has no place for, so that they would never be saved.
    """
    if head is Head.NONE:
        raise ConfigError(f"cannot train {head.architecture}: it has no loss. Train a model with a head.")
    if dtype != "float32":
        raise ConfigError(
            f"weights must be float32 for training; got {dtype}, which loses small updates. Load the model with "
            "dtype='float32'. To compute in bfloat16, set precision='bfloat16' in the recipe."
        )
    if others:
        raise ConfigError(
            f"cannot train {others[0]}: a checkpoint has no place for it. Train it in a loop of your own, with "
            "the adamw of your framework's training module, such as gpt_torch.training.adamw."
        )


def check_batch(config: OpenAIGPTConfig, head: Head, batch: Mapping[str, Any]) -> Batch:
    """Check the batch of a step and return it as NumPy arrays.

    Raises:
        InputError: A name is missing or unknown, or an id, position or class is out of range. (In a compiled step,
            such values would turn all weights into NaN.)
    """
    names = ("input_ids", "labels") if head is Head.LM else ("input_ids", "labels", "extract_positions", "targets")
    optional = ("extract_positions",) if head is Head.DOUBLE_HEADS else ()  # by default the last
    missing = [name for name in names if batch.get(name) is None and name not in optional]
    if missing or any(name not in names for name in batch):
        advice = " Pad on the right, with labels of -100 there." if "attention_mask" in batch else ""
        raise InputError(f"a batch must hold {', '.join(names)}; got {', '.join(batch) or 'nothing'}.{advice}")
    arrays = {name: as_array(name, values) for name, values in batch.items() if values is not None}
    described = {name: ArrayInfo(a.shape, a.dtype.name, lambda a=a: a) for name, a in arrays.items()}  # type: ignore[misc]
    check_inputs(config, Head.LM, {name: described[name] for name in ("input_ids", "labels")})
    if head is not Head.LM:
        shape = described["input_ids"].shape
        check_task(config, head, shape, described.get("extract_positions"), described["targets"])
    return arrays


def rows_of_process(rows: int, process: int, processes: int) -> slice:
    """The rows of a batch that a process computes.

    Raises:
        TrainingError: The number of rows is not a multiple of the number of processes.

    >>> rows_of_process(6, 1, 2)
    slice(3, 6, None)
    """
    if rows % processes:
        raise TrainingError(f"batch_size must be a multiple of the {processes} processes; got {rows} rows.")
    each = rows // processes
    return slice(process * each, (process + 1) * each)


def dropout_seed(seed: int, step: int, part: int, process: int = 0) -> int:
    """The dropout seed of one part of a batch; a function of counters, so that a run can resume at any step.

    >>> dropout_seed(0, 0, 0) == dropout_seed(0, 1, 0)
    False
    """
    word, _ = threefry((seed, process), np.array(step, np.uint32), np.array(part, np.uint32))
    return int(word)
