"""``flax_model.msgpack``, as ``flax.serialization`` writes it: nested maps with the paths of a Flax NNX model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gptcore.checkpoint.containers import msgpack
from gptcore.checkpoint.formats.base import FileFormat
from gptcore.checkpoint.layouts import nnx
from gptcore.checkpoint.tensors import OutgoingTensor, StoredTensor
from gptcore.spec.parameters import Head, Parameter

PICKLE = b"\x80\x02"  # the start of old files of torch.save (protocol 2); as msgpack, an empty map


class Flax(FileFormat):
    """The msgpack files of ``flax_model.msgpack``."""

    name = "flax"
    container = "msgpack"
    file_name = "flax_model.msgpack"
    dropped = nnx.DROPPED

    def recognises(self, path: Path, start: bytes) -> bool:
        return any(map(msgpack.begins_map, start[:1])) and not start.startswith(PICKLE)

    def read(self, path: Path) -> list[StoredTensor]:
        return msgpack.read(path)

    def to_canonical(self, name: str) -> tuple[str, str] | None:
        return nnx.to_canonical(name)

    def from_canonical(self, parameter: Parameter, head: Head) -> tuple[str, str]:
        return nnx.from_canonical(parameter, head)

    def write(self, target: Any, tensors: Iterable[OutgoingTensor], provenance: Mapping[str, str]) -> None:
        msgpack.write(target, tensors)


FLAX = Flax()
