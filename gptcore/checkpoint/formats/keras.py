"""``model.weights.h5`` of a ``gpt_tf`` model, as Keras 3 writes it: HDF5 with paths in the tree of layers.

Layers of one kind are numbered from the second on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gptcore.checkpoint.containers import hdf5
from gptcore.checkpoint.formats.base import FileFormat
from gptcore.checkpoint.layouts import Rows, canonical_name, foreign_name
from gptcore.checkpoint.layouts.published import is_inner
from gptcore.checkpoint.tensors import OutgoingTensor, StoredTensor
from gptcore.spec.parameters import Head, Parameter

ROWS: Rows = {
    "tokens_embed.weight": ("layers/embedding/vars/0", "same"),
    "positions_embed.weight": ("layers/embedding_1/vars/0", "same"),
    "h.{}.attn.c_attn.weight": ("h/block_{}/attn/c_attn/vars/0", "same"),
    "h.{}.attn.c_attn.bias": ("h/block_{}/attn/c_attn/vars/1", "same"),
    "h.{}.attn.c_proj.weight": ("h/block_{}/attn/c_proj/vars/0", "same"),
    "h.{}.attn.c_proj.bias": ("h/block_{}/attn/c_proj/vars/1", "same"),
    "h.{}.ln_1.weight": ("h/block_{}/ln_1/vars/0", "same"),
    "h.{}.ln_1.bias": ("h/block_{}/ln_1/vars/1", "same"),
    "h.{}.mlp.c_fc.weight": ("h/block_{}/mlp/c_fc/vars/0", "same"),
    "h.{}.mlp.c_fc.bias": ("h/block_{}/mlp/c_fc/vars/1", "same"),
    "h.{}.mlp.c_proj.weight": ("h/block_{}/mlp/c_proj/vars/0", "same"),
    "h.{}.mlp.c_proj.bias": ("h/block_{}/mlp/c_proj/vars/1", "same"),
    "h.{}.ln_2.weight": ("h/block_{}/ln_2/vars/0", "same"),
    "h.{}.ln_2.bias": ("h/block_{}/ln_2/vars/1", "same"),
    "multiple_choice_head.summary.weight": ("layers/sequence_summary/summary/vars/0", "transpose"),
    "multiple_choice_head.summary.bias": ("layers/sequence_summary/summary/vars/1", "same"),
    "score.weight": ("layers/projection/vars/0", "transpose"),
}

TRUNK_PREFIX = "layers/tf_open_aigpt_model/"
FIRST_BLOCK = ("h/block_0/", "h/block/")  # Keras does not number the first


class Keras(FileFormat):
    """The HDF5 files of Keras 3."""

    name = "keras"
    container = "hdf5"
    file_name = "model.weights.h5"
    dropped = (r"optimizer/.+",)  # the state that Keras saves with the weights of a compiled model

    def recognises(self, path: Path, start: bytes) -> bool:
        return start.startswith(hdf5.SIGNATURE)

    def read(self, path: Path) -> list[StoredTensor]:
        return hdf5.read(path)

    def to_canonical(self, name: str) -> tuple[str, str] | None:
        numbered, unnumbered = FIRST_BLOCK
        return canonical_name(ROWS, name.removeprefix(TRUNK_PREFIX).replace(unnumbered, numbered, 1))

    def from_canonical(self, parameter: Parameter, head: Head) -> tuple[str, str]:
        name, transform = foreign_name(ROWS, parameter)
        prefix = TRUNK_PREFIX if is_inner(parameter.name, head) else ""
        return prefix + name.replace(*FIRST_BLOCK), transform

    def write(self, target: Any, tensors: Iterable[OutgoingTensor], provenance: Mapping[str, str]) -> None:
        hdf5.write(target, tensors, {})


KERAS = Keras()
