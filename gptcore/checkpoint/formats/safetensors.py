"""``model.safetensors``, the default: tensors under their published names, in one file or in shards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gptcore.checkpoint.containers import safetensors
from gptcore.checkpoint.formats.base import FileFormat
from gptcore.checkpoint.layouts import published
from gptcore.checkpoint.tensors import OutgoingTensor, StoredTensor
from gptcore.spec.parameters import Head, Parameter


class Safetensors(FileFormat):
    """Safetensors files."""

    name = container = "safetensors"
    file_name = "model.safetensors"
    index_name = "model.safetensors.index.json"
    dropped = published.DROPPED

    def recognises(self, path: Path, start: bytes) -> bool:
        return start[8:9] == b"{"  # of the header, after its length

    def read(self, path: Path) -> list[StoredTensor]:
        return safetensors.read(path)

    def to_canonical(self, name: str) -> tuple[str, str]:
        return published.unwrapped(name), "same"

    def from_canonical(self, parameter: Parameter, head: Head) -> tuple[str, str]:
        return published.published_name(parameter.name, head), "same"

    def write(self, target: Any, tensors: Iterable[OutgoingTensor], provenance: Mapping[str, str]) -> None:
        safetensors.write(target, tensors, provenance)


SAFETENSORS = Safetensors()
