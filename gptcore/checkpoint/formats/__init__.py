"""The table of file formats: how each is read, named and written; other modules recognise them and handle the bytes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from gptcore.checkpoint.dtypes import STORAGE
from gptcore.checkpoint.formats import hdf5, msgpack, orbax, pytorch, safetensors
from gptcore.checkpoint.layouts import canonical_name, foreign_name, hf_tf, hf_torch, keras_weights, nnx
from gptcore.checkpoint.tensors import OutgoingTensor
from gptcore.spec.parameters import TRUNK, Head, Parameter

TRUNK_ROOTS = tuple(row.name.split("{")[0] for row in TRUNK)
WRAPPERS = ("module.", "_orig_mod.", hf_torch.TRUNK_PREFIX)  # of DataParallel, torch.compile and head models


def canonical(kind: str, name: str) -> tuple[str, str]:
    """The canonical name of a tensor in a file, and the transform of its values there.

    Unknown names are returned unchanged; they are reported later, all together.
    """
    if kind == "hdf5":
        first, place = keras_weights.FIRST_BLOCK[::-1]
        keras_name = name.removeprefix(keras_weights.TRUNK_PREFIX).replace(first, place, 1)
        in_layer = name.partition("/")[2]
        in_model = in_layer.partition("/")[2]
        found = (
            canonical_name(hf_tf.ROWS, in_model)
            or canonical_name(hf_tf.ROWS, in_layer)
            or canonical_name(keras_weights.ROWS, keras_name)
        )
    elif kind in ("msgpack", "orbax"):
        found = canonical_name(nnx.ROWS, name.removeprefix(hf_torch.TRUNK_PREFIX))
    else:
        while name.startswith(WRAPPERS):
            name = name.partition(".")[2]
        found = None
    return found or (name, "same")


def published_name(name: str, head: Head) -> str:
    """The name in published files: head models put ``transformer.`` before the trunk.

    >>> published_name("h.0.ln_1.bias", Head.LM), published_name("score.weight", Head.SEQUENCE_CLASSIFICATION)
    ('transformer.h.0.ln_1.bias', 'score.weight')
    """
    return hf_torch.TRUNK_PREFIX + name if is_inner(name, head) else name


def is_inner(name: str, head: Head) -> bool:
    """Whether a parameter belongs to the trunk inside a head model."""
    return head is not Head.NONE and name.startswith(TRUNK_ROOTS)


def _torch_name(parameter: Parameter, head: Head) -> tuple[str, str]:
    return published_name(parameter.name, head), "same"


def _tf_name(parameter: Parameter, head: Head) -> tuple[str, str]:
    name, transform = foreign_name(hf_tf.ROWS, parameter)
    return f"{name.partition('/')[0]}/{hf_tf.MODEL_NAMES[head]}/{name}", transform


def _keras_name(parameter: Parameter, head: Head) -> tuple[str, str]:
    name, transform = foreign_name(keras_weights.ROWS, parameter)
    prefix = keras_weights.TRUNK_PREFIX if is_inner(parameter.name, head) else ""
    return prefix + name.replace(*keras_weights.FIRST_BLOCK), transform


def _nnx_name(parameter: Parameter, head: Head) -> tuple[str, str]:
    name, transform = foreign_name(nnx.ROWS, parameter)
    return (hf_torch.TRUNK_PREFIX if is_inner(parameter.name, head) else "") + name, transform


def _write_tf(file: BinaryIO, tensors: Iterable[OutgoingTensor], provenance: Mapping[str, str]) -> None:
    """With the lists of layers and weights that Keras 2 wants."""
    tensors = list(tensors)
    layers: dict[str, list[str]] = {}
    for tensor in tensors:
        layer, _, weight = tensor.name.partition("/")
        layers.setdefault(layer, []).append(weight)
    attributes: dict[str, Mapping[str, Any]] = {
        "/": {"layer_names": list(layers), "backend": "tensorflow", "keras_version": "2.15.0"},
        **{layer: {"weight_names": weights} for layer, weights in layers.items()},
        "top_level_model_weights": {"weight_names": []},
    }
    hdf5.write(file, tensors, attributes)


@dataclass(frozen=True)
class Format:
    """A format that is written as one file, one directory or, if it has an index, several files."""

    file_name: str
    index_name: str | None
    kind: str  # of READERS
    dtypes: Sequence[str]
    name_of: Callable[[Parameter, Head], tuple[str, str]]
    write: Callable[[Any, Iterable[OutgoingTensor], Mapping[str, str]], None]
    """Function that writes tensors and metadata to an open file or an empty directory."""
    is_directory: bool = False

    def shard_name(self, number: int, count: int) -> str:
        """The name of a shard, from 1."""
        stem, dot, suffix = self.file_name.partition(".")
        return f"{stem}-{number:05d}-of-{count:05d}{dot}{suffix}"

    def files(self, names: Iterable[str]) -> list[str]:
        """Select the files of a folder that hold weights in this format, from any save."""
        shard = re.compile(re.escape(self.shard_name(1, 1)).replace("00001", r"\d{5}"))
        return [name for name in names if name in (self.file_name, self.index_name) or shard.fullmatch(name)]


_WITHOUT_BFLOAT16 = tuple(name for name in STORAGE if name != "bfloat16")

FORMATS: Mapping[str, Format] = {
    "safetensors": Format(
        "model.safetensors",
        "model.safetensors.index.json",
        "safetensors",
        tuple(STORAGE),
        _torch_name,
        safetensors.write,
    ),
    "tf": Format("tf_model.h5", None, "hdf5", _WITHOUT_BFLOAT16, _tf_name, _write_tf),
    "keras": Format(
        "model.weights.h5",
        None,
        "hdf5",
        tuple(STORAGE),
        _keras_name,
        lambda file, tensors, _: hdf5.write(file, tensors, {}),
    ),
    "flax": Format(
        "flax_model.msgpack",
        None,
        "msgpack",
        tuple(STORAGE),
        _nnx_name,
        lambda file, tensors, _: msgpack.write(file, tensors),
    ),
    "orbax": Format(
        "orbax_checkpoint",
        None,
        "orbax",
        tuple(STORAGE),
        _nnx_name,
        lambda folder, tensors, _: orbax.write(folder, tensors),
        is_directory=True,
    ),
    "pytorch": Format(
        "pytorch_model.bin",
        "pytorch_model.bin.index.json",
        "pytorch",
        tuple(STORAGE),
        _torch_name,
        lambda file, tensors, _: pytorch.write(file, tensors),
    ),
}
"""The formats, in the order of preference if a folder has several; pickles last. ``openai`` is handled separately."""
