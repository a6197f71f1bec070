"""Models of a framework seen from outside, in evaluation mode: what ``verify``, generation and the commands know."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from gptcore.backends.discovery import INFERENCE, load
from gptcore.errors import ConfigError, GPTError
from gptcore.spec.config import OpenAIGPTConfig
from gptcore.spec.parameters import Head

Arrays = Mapping[str, NDArray[Any]]

CAPABILITIES = {
    "cache": "past_key_values and use_cache in BackendModel.forward, and BackendModel.reordered",
    "generate": "BackendModel.generate",
    "gradients": "labels in BackendModel.forward, and BackendModel.loss_and_gradients",
    "weights": "BackendModel.weights and BackendModel.save",
    "devices": "Backend.devices and Backend.on",
}
"""What a backend may claim beside ``forward``, and the arguments and methods that it then has."""


class BackendModel(Protocol):
    """One model in one framework, in evaluation mode."""

    config: OpenAIGPTConfig
    generation_config: Any
    """With ``generate``: the ``GenerationConfig`` that it starts from, or ``None`` for the defaults."""

    def forward(
        self,
        inputs: Arrays,
        *,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        past_key_values: Any = None,
        use_cache: bool = False,
    ) -> dict[str, Any]:
        """Run a call; returns its present output fields as arrays (or tuples of arrays), half types as float32.

        ``past_key_values`` is the framework's own object, in and out.
        """
        ...

    def reordered(self, past_key_values: Any, rows: NDArray[Any]) -> Any:
        """A cache whose row i is what row ``rows[i]`` was; rows may repeat."""
        ...

    def generate(self, input_ids: Any, attention_mask: Any = None, **settings: Any) -> Any:
        """Call the framework's ``generate`` with NumPy ids; returns ids, or a ``GenerateOutput``."""
        ...

    def loss_and_gradients(self, inputs: Arrays) -> tuple[dict[str, float], dict[str, NDArray[Any]]]:
        """The losses by field name, and the gradient of their sum for every parameter by canonical name."""
        ...

    def weights(self) -> dict[str, NDArray[Any]]:
        """Every parameter by canonical name, bit for bit; bfloat16 as ``uint16``."""
        ...

    def save(self, folder: str | Path, max_shard_size: int | str | None = None) -> None:
        """Call the framework's ``save_pretrained``."""
        ...


class Backend(Protocol):
    """One framework. What an entry point of ``gptcore.backends`` names."""

    name: str
    capabilities: Collection[str]
    """Keys of ``CAPABILITIES``. Nobody calls the methods of one that is not claimed."""

    def versions(self) -> dict[str, str]:
        """Names and versions of the libraries that do the arithmetic."""
        ...

    def load(self, path: str | Path, head: Head, *, dtype: str = "float32", **options: Any) -> BackendModel:
        """Call the framework's ``from_pretrained``, with matmul precision pinned to the dtype's own.

        Args:
            path: A folder, or ``owner/name`` on the hub.
            head: Which model.
            dtype: Of the weights.
            options: Where the checkpoint is (``revision``, ``cache_dir``, ``local_files_only``, ``token``,
                ``allow_pickle``), settings of the config to change, and what the framework alone has.
        """
        ...

    def devices(self) -> list[str]:
        """The names of the devices of this machine that the framework can compute on."""
        ...

    def on(self, device: str) -> AbstractContextManager[Any]:
        """Let models that are loaded inside, and trainers, compute on one of ``devices``, and on no other."""
        ...


def load_backend(name: str) -> Backend:
    """Import one backend.

    Raises:
        GPTError: no such backend, its framework is not installed (says how to install it), or its import fails.
    """
    backend: Backend = load(INFERENCE, name)
    return backend


def not_claimed(backend: Backend) -> list[str]:
    """The keys of ``CAPABILITIES`` that a backend does not claim."""
    return [name for name in CAPABILITIES if name not in backend.capabilities]


def require(backend: Backend, capability: str) -> None:
    """Raise a ``GPTError`` if a backend does not claim a capability."""
    if capability in not_claimed(backend):
        raise GPTError(f"backend {backend.name!r} does not claim {capability!r}: {CAPABILITIES[capability]}.")


def device_named(device: str, devices: Sequence[str]) -> str:
    """Find a device by name, in any case; the first of a kind also without its number.

    Args:
        device: The name.
        devices: The names of all devices of this machine.

    Raises:
        ConfigError: there is no such device; lists those that there are.

    >>> device_named("gpu", ["CPU:0", "GPU:0", "GPU:1"])
    'GPU:0'
    """
    for name in devices:
        if device.lower().removesuffix(":0") == name.lower().removesuffix(":0"):
            return name
    raise ConfigError(f"device must be one of {', '.join(devices)}, which this machine has; got {device!r}.")
