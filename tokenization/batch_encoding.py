"""The result of a call, and its conversion to the tensors of a framework."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any, Self

import numpy as np

from gptcore.backends import load_tensors
from gptcore.errors import InputError, TokenizerError

TENSORS = {"np": None, "pt": "torch", "tf": "tf", "jax": "flax"}
"""Value of ``return_tensors`` -> the backend that creates the tensors."""


class BatchEncoding(dict[str, Any]):
    """The result of a tokenizer call: a dict whose keys are also attributes.

    Keys: ``input_ids``, ``attention_mask`` (1 for a token, 0 for padding), and on request ``token_type_ids``,
    ``special_tokens_mask``, ``offset_mapping``, ``length``, ``overflow_to_sample_mapping``.

    Keras, JAX and PyTorch treat it like a dict of arrays: ``model.fit(encoding)``, ``jax.jit(f)(encoding)``. For that,
    the framework must be imported before the encoding is created. An integer index gives a row of a batch.

    >>> BatchEncoding(input_ids=[481]).input_ids
    [481]
    >>> BatchEncoding(input_ids=[[481], [2585]])[1]
    {'input_ids': [2585]}
    """

    _words: list[list[int | None]] | None = None

    def __new__(cls, *_: Any, **__: Any) -> Self:
        register_trees()
        return super().__new__(cls)

    def __missing__(self, key: Any) -> Any:
        if not isinstance(key, int):
            raise KeyError(key)
        if not isinstance(self.get("input_ids"), list) or all(isinstance(ids, list) for ids in self["input_ids"]):
            return BatchEncoding({name: rows[key] for name, rows in self.items()})
        raise KeyError(f"cannot select row {key}: this encoding holds a single text, not a batch")

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"BatchEncoding has no key {name!r}; it has {', '.join(self) or 'none'}") from None

    @property
    def data(self) -> dict[str, Any]:
        """The plain dict."""
        return dict(self)

    def word_ids(self, batch_index: int = 0) -> list[int | None]:
        """The number of the word that each token of a row comes from, ``None`` for padding and for the task's tokens.

        The words of each text are numbered from 0.

        Raises:
            InputError: The call did not set ``is_split_into_words``.
        """
        if self._words is None:
            raise InputError(
                "word_ids() needs a tokenizer call with is_split_into_words=True. For a whole text, pass "
                "return_offsets_mapping=True instead."
            )
        return self._words[batch_index]

    def convert_to_tensors(self, tensor_type: str | None = None, prepend_batch_axis: bool = False) -> BatchEncoding:
        """Turn every value into an array of ``tensor_type`` (``"np"``, ``"pt"``, ``"tf"``, ``"jax"``), in place."""
        if tensor_type is not None:
            for name, rows in self.items():
                self[name] = to_tensor([rows] if prepend_batch_axis else rows, tensor_type, name)
            register_trees()  # the first tensor may have imported its framework
        return self

    def to(self, device: Any, *, non_blocking: bool = False) -> BatchEncoding:
        """Move all PyTorch tensors to a device, in place."""
        for name, value in self.items():
            if hasattr(value, "to"):
                self[name] = value.to(device, non_blocking=non_blocking)
        return self


def _flatten(encoding: BatchEncoding) -> tuple[list[Any], tuple[str, ...]]:
    names = tuple(sorted(encoding))
    return [encoding[name] for name in names], names


def _unflatten(names: Iterable[str], values: Iterable[Any]) -> BatchEncoding:
    return BatchEncoding(zip(names, values, strict=True))


def _register_jax(tree: Any) -> None:
    def flatten(encoding: BatchEncoding) -> tuple[list[Any], tuple[str, ...]]:
        values, names = _flatten(encoding)
        return [(tree.DictKey(name), value) for name, value in zip(names, values, strict=True)], names

    tree.register_pytree_with_keys(BatchEncoding, flatten, _unflatten, _flatten)


def _register_optree(tree: Any) -> None:
    def flatten(encoding: BatchEncoding) -> tuple[list[Any], tuple[str, ...], tuple[str, ...]]:
        values, names = _flatten(encoding)
        return values, names, names

    def unflatten(names: Iterable[str], values: Iterable[Any]) -> dict[str, Any]:
        return dict(zip(names, values, strict=True))  # functional models compare it with the dict of their inputs

    tree.register_pytree_node(BatchEncoding, flatten, unflatten, namespace="keras")


def _register_torch(tree: Any) -> None:
    tree.register_pytree_node(
        BatchEncoding,
        _flatten,
        lambda values, names: _unflatten(names, values),
        serialized_type_name="tokenization.BatchEncoding",
    )


_unregistered: dict[str, tuple[str, Callable[[Any], None]]] = {
    "jax.tree_util": ("jax", _register_jax),
    "optree": ("keras", _register_optree),
    "torch.utils._pytree": ("torch", _register_torch),
}


def register_trees() -> None:
    """Register ``BatchEncoding`` with the imported frameworks, which otherwise recognise plain dicts only."""
    for module, (framework, register) in list(_unregistered.items()):
        if _is_imported(module) and _is_imported(framework) and module in _unregistered:
            del _unregistered[module]
            register(sys.modules[module])


def _is_imported(module: str) -> bool:
    """Whether the import of a module is complete."""
    imported = sys.modules.get(module)
    return imported is not None and not getattr(imported.__spec__, "_initializing", False)


def to_tensor(rows: Any, tensor_type: str, name: str = "input_ids") -> Any:
    """Convert rows to an integer tensor: 64 bits for ``np`` and ``pt``, 32 for ``tf`` and ``jax``, as in transformers.

    Raises:
        InputError: The rows have different lengths.
        TokenizerError: The type of tensor is unknown.
        GPTError: The framework is not installed.
    """
    if tensor_type not in TENSORS:
        raise TokenizerError(f"return_tensors must be one of {', '.join(map(repr, TENSORS))}; got {tensor_type!r}.")
    try:
        array = np.array(rows, dtype=np.int64 if tensor_type in ("np", "pt") else np.int32)
    except ValueError as cause:
        raise InputError(
            f"cannot convert {name} to a tensor: its rows have different lengths. Pass padding=True, and "
            "truncation=True with max_length to limit the length."
        ) from cause
    backend = TENSORS[tensor_type]
    if backend is None:
        return array
    return load_tensors(backend)(array)
