"""``pytorch_model.bin``, as ``torch.save`` writes it: tensors under their published names, in one file or in shards.

It is a pickle, so it is read only if the user allows that; even then, nothing in it is executed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gptcore.checkpoint.containers import torch_save
from gptcore.checkpoint.formats.base import FileFormat
from gptcore.checkpoint.layouts import published
from gptcore.checkpoint.tensors import OutgoingTensor, StoredTensor
from gptcore.errors import CheckpointError
from gptcore.spec.parameters import Head, Parameter

SIGNATURES = (b"PK\x03\x04", b"\x80\x02\x8a\x0a\x6c\xfc")  # a zip archive; the magic number as a pickle


class PyTorch(FileFormat):
    """The pickles of ``torch.save``."""

    name = container = "pytorch"
    file_name = "pytorch_model.bin"
    index_name = "pytorch_model.bin.index.json"
    is_pickle = True
    dropped = published.DROPPED

    def recognises(self, path: Path, start: bytes) -> bool:
        return start.startswith(SIGNATURES)

    def check_allowed(self, path: Path, *, allow_pickle: bool) -> None:
        if path.suffix == ".keras":
            raise CheckpointError(
                f"cannot read {path}: it is a whole Keras model. Load it with keras.saving.load_model, "
                "then call save_pretrained."
            )
        if not allow_pickle:
            raise CheckpointError(
                f"{path} was written by torch.save and is a pickle. Pass allow_pickle=True to read it (its code is "
                "never executed), or convert it once: gptcore convert SRC DST --to safetensors --allow-pickle"
            )

    def read(self, path: Path) -> list[StoredTensor]:
        return torch_save.read(path)

    def to_canonical(self, name: str) -> tuple[str, str]:
        return published.unwrapped(name), "same"

    def from_canonical(self, parameter: Parameter, head: Head) -> tuple[str, str]:
        return published.published_name(parameter.name, head), "same"

    def write(self, target: Any, tensors: Iterable[OutgoingTensor], provenance: Mapping[str, str]) -> None:
        torch_save.write(target, tensors)


PYTORCH = PyTorch()
