"""Strict matching of stored tensors to parameters.

Every parameter of the trunk must be present, and every other tensor must be known. All problems are reported at once.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gptcore.checkpoint.dtypes import STORAGE
from gptcore.checkpoint.formats import FORMATS
from gptcore.checkpoint.layouts.published import TIED_HEAD, TIED_TO
from gptcore.checkpoint.tensors import StoredTensor
from gptcore.errors import CheckpointError, bullet_list
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.parameters import SCORE, SUMMARY, Head, Parameter, parameters

DROPPED = tuple(dict.fromkeys(pattern for form in FORMATS.values() for pattern in form.dropped))
HEAD_NAMES = {row.name for row in SUMMARY + SCORE}


@dataclass(frozen=True)
class Matching:
    """The source of each parameter, the parameters without one, and the stored tensors that are not used."""

    sources: dict[str, StoredTensor]
    missing: list[Parameter]
    dropped: list[str]


def match(
    tensors: Sequence[StoredTensor],
    config: OpenAIGPTConfig,
    head: Head,
    *,
    ignore_mismatched_sizes: bool = False,
    without: Collection[str] = (),
) -> Matching:
    """Match stored tensors to the parameters of a model, before memory for the model is allocated.

    No values are read, except to compare a stored ``lm_head.weight`` with the token embedding.

    All trunk parameters are required. Parameters of the head may be missing (a base checkpoint in a head model) and are
    then initialised. These tensors are dropped: those of another head, old mask buffers, the state of dropout and of an
    optimizer, the second copy of the tied head, head tensors named in ``without`` and, with
    ``ignore_mismatched_sizes``, head tensors of another shape.

    Raises:
        CheckpointError: A tensor is missing, unknown, duplicated, or of another shape or dtype; the error lists
            all problems.
    """
    problems: list[str] = []
    by_name: dict[str, StoredTensor] = {}
    dropped: list[str] = []
    for tensor in tensors:
        name = tensor.parameter
        if any(re.fullmatch(pattern, name) for pattern in DROPPED):
            dropped.append(tensor.name)
        elif name in by_name:
            problems.append(f"{tensor.name} and {by_name[name].name} are the same parameter")
        else:
            by_name[name] = tensor
    problems += _untie(by_name, dropped)
    table = parameters(config, head)
    for name in sorted(by_name):
        fits = name in table and (by_name[name].shape == table[name].shape or not ignore_mismatched_sizes)
        if name in HEAD_NAMES and (not fits or name in without):
            dropped.append(by_name.pop(name).name)
        elif name not in table:
            problems.append(f"{by_name[name].name} {by_name[name].shape} is not a parameter of this model")
    missing = [parameter for name, parameter in table.items() if name not in by_name]
    problems += [f"{p.name} {p.shape} is missing" for p in missing if p.name not in HEAD_NAMES]
    problems += [p for name in table if name in by_name for p in _misfit(by_name[name], table[name])]
    if problems:
        raise CheckpointError(
            f"the checkpoint does not fit {head.architecture} ({len(table)} parameter tensors):\n"
            + bullet_list(problems)
        )
    return Matching({name: by_name[name] for name in table if name in by_name}, missing, dropped)


def _misfit(tensor: StoredTensor, parameter: Parameter) -> list[str]:
    problems = []
    if tensor.shape != parameter.shape:
        problem = f"{tensor.name} must have shape {parameter.shape}; got {tensor.shape}"
        if parameter.name in HEAD_NAMES:
            setting = "num_labels" if parameter.name == SCORE[0].name else "summary_proj_to_labels"
            problem += f". Pass the {setting} of the checkpoint, or ignore_mismatched_sizes=True for a fresh head."
        problems.append(problem)
    if tensor.dtype not in STORAGE:
        problems.append(f"{tensor.name} must have one of the dtypes {', '.join(STORAGE)}; got {tensor.dtype}")
    return problems


def _untie(by_name: dict[str, StoredTensor], dropped: list[str]) -> list[str]:
    """The head is the token embedding: one stored copy is enough, and two must be equal."""
    head = by_name.pop(TIED_HEAD, None)
    if head is None:
        return []
    embedding = by_name.setdefault(TIED_TO, head)
    if embedding is head:
        return []
    dropped.append(head.name)
    same_type = embedding.dtype == head.dtype and embedding.shape == head.shape
    if same_type and head.dtype in STORAGE and np.array_equal(_bits(embedding), _bits(head)):
        return []
    return [f"{head.name} must equal {embedding.name}: in this architecture, the head is the token embedding"]


def _bits(tensor: StoredTensor) -> NDArray[np.uint8]:
    return tensor.read().reshape(-1).view(np.uint8)
