"""The protocols of inference, used by ``verify``, pipelines and the commands: ``Backend`` and ``BackendModel``."""

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
"""The optional capabilities of a backend, and the arguments and methods that each of them requires."""


class BackendModel(Protocol):
    """One model in one framework, in evaluation mode."""

    config: OpenAIGPTConfig
    generation_config: Any
    """With ``generate``: its default ``GenerationConfig``, or ``None``."""

    def forward(
        self,
        inputs: Arrays,
        *,
        output_attentions: bool = False,
        output_hidden_states: bool = False,
        past_key_values: Any = None,
        use_cache: bool = False,
    ) -> dict[str, Any]:
        """Run the model; returns the computed output fields as arrays (or tuples of arrays), half types as float32.

        ``past_key_values`` is an object of the framework, as argument and as result.
        """
        ...

    def reordered(self, past_key_values: Any, rows: NDArray[Any]) -> Any:
        """Return a cache whose row i is the old row ``rows[i]``; rows may repeat."""
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
    """One framework: the object that an entry point of ``gptcore.backends`` names."""

    name: str

    @property
    def capabilities(self) -> Collection[str]:
        """Keys of ``CAPABILITIES``. Methods of capabilities that are missing here are never called."""
        ...

    def versions(self) -> dict[str, str]:
        """Names and versions of the libraries that compute."""
        ...

    def load(self, path: str | Path, head: Head, *, dtype: str = "float32", **options: Any) -> BackendModel:
        """Call the framework's ``from_pretrained``; matrix products are computed in the full precision of the dtype.

        Args:
            path: A folder, or ``owner/name`` on the hub.
            head: The head, which selects the model class.
            dtype: The dtype of the weights. Default: ``float32``.
            options: Options for finding the checkpoint (``revision``, ``cache_dir``, ``local_files_only``, ``token``,
                ``allow_pickle``), settings of the config to change, and options of this framework.
        """
        ...

    def devices(self) -> list[str]:
        """The names of the devices of this machine that the framework can compute on."""
        ...

    def on(self, device: str) -> AbstractContextManager[Any]:
        """Return a context in which loaded models and trainers compute on one of ``devices``, and on no other."""
        ...


def load_backend(name: str) -> Backend:
    """Import one backend.

    Raises:
        GPTError: The backend is unknown, its framework is not installed (with the install command), or its import
            fails.
    """
    backend: Backend = load(INFERENCE, name)
    return backend


def not_claimed(backend: Backend) -> list[str]:
    """The keys of ``CAPABILITIES`` that a backend does not support."""
    return [name for name in CAPABILITIES if name not in backend.capabilities]


def require(backend: Backend, capability: str) -> None:
    """Raise a ``GPTError`` if a backend does not support a capability."""
    if capability in not_claimed(backend):
        raise GPTError(f"backend {backend.name!r} does not support {capability!r} ({CAPABILITIES[capability]}).")


def device_named(device: str, devices: Sequence[str]) -> str:
    """Find a device by name, ignoring case; the number of the first device of a kind may be omitted.

    Args:
        device: The name.
        devices: The names of all devices of this machine.

    Raises:
        ConfigError: This machine has no such device; the error lists its devices.

    >>> device_named("gpu", ["CPU:0", "GPU:0", "GPU:1"])
    'GPU:0'
    """
    for name in devices:
        if device.lower().removesuffix(":0") == name.lower().removesuffix(":0"):
            return name
    raise ConfigError(f"device must be one of {', '.join(devices)}, the devices of this machine; got {device!r}.")
