"""What the training steps of all frameworks share: checks, the rows of a process, the seeds of dropout."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gptcore.backends.training import Batch
from gptcore.errors import ConfigError, TrainingError
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.counters import threefry
from gptcore.spec.inputs import ArrayInfo, check_inputs
from gptcore.spec.parameters import Head

MOMENTS = ("exp_avg", "exp_avg_sq")
"""Adam's running means of the gradient and of its square, under PyTorch's names."""


def check_weights(head: Head, dtype: str, others: Sequence[str] = ()) -> None:
    """Raise a ``ConfigError`` for a model that cannot be trained as it is.

    Args:
        head: the head.
        dtype: of the weights.
        others: names of parameters that a checkpoint has no place for: they would be trained and never saved.
    """
    if head is Head.NONE:
        raise ConfigError(f"{head.architecture} has no loss; train a model with a head")
    if dtype != "float32":
        raise ConfigError(
            f"weights in {dtype} lose small updates; load the model with dtype='float32', and compute in bfloat16 by "
            "precision='bfloat16' in the recipe"
        )
    if others:
        raise ConfigError(
            f"cannot train {others[0]}: a checkpoint has no place for it. Train it in a loop of your own, with adamw."
        )


def check_batch(config: OpenAIGPTConfig, batch: Batch) -> None:
    """Raise an ``InputError`` for ids or labels that the model lacks; a compiled step would make all weights NaN."""
    arrays = {name: np.asarray(array) for name, array in batch.items() if name in ("input_ids", "labels")}
    described = {name: ArrayInfo(a.shape, a.dtype.name, lambda a=a: a) for name, a in arrays.items()}  # type: ignore[misc]
    check_inputs(config, Head.LM, described)  # whose labels are tokens, as in a batch of any task


def rows_of_process(rows: int, process: int, processes: int) -> slice:
    """The rows of a batch that a process takes.

    Raises:
        TrainingError: they cannot be shared out evenly.

    >>> rows_of_process(6, 1, 2)
    slice(3, 6, None)
    """
    if rows % processes:
        raise TrainingError(
            f"{rows} rows cannot be shared by {processes} processes; make batch_size a multiple of them"
        )
    each = rows // processes
    return slice(process * each, (process + 1) * each)


def dropout_seed(seed: int, step: int, part: int, process: int = 0) -> int:
    """The seed of the dropout of one part of a batch: by counters, so that a run can go on at any step.

    >>> dropout_seed(0, 0, 0) == dropout_seed(0, 1, 0)
    False
    """
    word, _ = threefry((seed, process), np.array(step, np.uint32), np.array(part, np.uint32))
    return int(word)
