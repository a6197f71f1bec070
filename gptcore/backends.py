"""The backend protocol: what conformance, ``gptcore verify`` and the other commands know of a framework.

A backend is an object that the entry-point group ``gptcore.backends`` names. It takes and gives NumPy arrays, so a
fourth backend is a package that somebody else can publish and certify with the same suite.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Protocol

from numpy.typing import NDArray

from gptcore.config import OpenAIGPTConfig
from gptcore.errors import GPTError, InputError
from gptcore.installation import install_command
from gptcore.parameters import Head
from gptcore.recipe import Recipe
from gptcore.training import Trainer

ENTRY_POINT_GROUP = "gptcore.backends"
OWN = {"torch": ("torch",), "tf": ("tensorflow", "keras"), "flax": ("jax", "flax")}
"""The backends of this distribution, in the order of the README, which lists and tables keep, and what they need."""

Arrays = Mapping[str, NDArray[Any]]


class BackendModel(Protocol):
    """One model in one framework, in evaluation mode, seen from outside."""

    config: OpenAIGPTConfig

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
    """One framework."""

    name: str

    def versions(self) -> dict[str, str]:
        """Names and versions of the libraries that do the arithmetic."""
        ...

    def tensor(self, array: NDArray[Any]) -> Any:
        """The framework's tensor of an array."""
        ...

    def devices(self) -> list[str]:
        """The names of the devices of this machine that the framework can compute on."""
        ...

    def on(self, device: str) -> AbstractContextManager[Any]:
        """Let models that are loaded inside, and trainers, compute on one of ``devices``, and on no other."""
        ...

    def load(
        self, path: str | Path, head: Head, *, dtype: str = "float32", attn_implementation: str = "sdpa", **config: Any
    ) -> BackendModel:
        """Call the framework's ``from_pretrained``, with matmul precision pinned to the dtype's own."""
        ...

    def trainer(
        self,
        source: str | Path | OpenAIGPTConfig,
        head: Head,
        recipe: Recipe,
        total_steps: int,
        *,
        vocab_size: int | None = None,
        **config: Any,
    ) -> Trainer:
        """A model in training, on the devices and processes that this one was started with.

        Args:
            source: a checkpoint, or a config for fresh weights, seeded by the recipe.
            head: which model.
            recipe: hyperparameters.
            total_steps: updates of the whole run.
            vocab_size: resizes the vocabulary, for tokens that the checkpoint lacks.
            config: settings to change. With other labels, by name or number, than those of the checkpoint, a fresh head
                begins.
        """
        ...


def available() -> dict[str, EntryPoint]:
    """The entry points of all backends by name, our own first; nothing is imported."""
    points = {point.name: point for point in sorted(entry_points(group=ENTRY_POINT_GROUP))}
    return {name: points[name] for name in dict.fromkeys((*OWN, *points)) if name in points}


def load_backend(name: str) -> Backend:
    """Import one backend.

    Raises:
        GPTError: no such backend, its framework is not installed (says how to install it), or its import fails.
    """
    points = available()
    if name not in points:
        raise GPTError(f"unknown backend {name!r}; known are {', '.join(points) or 'none'}")
    try:
        backend: Backend = points[name].load()
    except ModuleNotFoundError as cause:
        raise GPTError(f"cannot import backend {name!r}: {cause}") from cause
    except Exception as cause:  # whatever a broken framework raises
        raise GPTError(f"cannot import backend {name!r}: {type(cause).__name__}: {cause}") from cause
    return backend


def device_named(device: str, devices: Sequence[str]) -> str:
    """Find a device by name, in any case; the first of a kind also without its number.

    Args:
        device: The name.
        devices: The names of all devices of this machine.

    Raises:
        InputError: there is no such device; lists those that there are.

    >>> device_named("gpu", ["CPU:0", "GPU:0", "GPU:1"])
    'GPU:0'
    """
    for name in devices:
        if device.lower().removesuffix(":0") == name.lower().removesuffix(":0"):
            return name
    raise InputError(f"device must be one of {', '.join(devices)}, which this machine has; got {device!r}.")


def installed() -> list[str]:
    """The names of the backends whose framework is there.

    Raises:
        GPTError: there is none, or one is there and its import fails, which is not an absence.
    """
    names = []
    for name in available():
        try:
            load_backend(name)
        except GPTError as error:
            cause = error.__cause__
            if not isinstance(cause, ModuleNotFoundError) or cause.name not in OWN.get(name, ()):
                raise
        else:
            names.append(name)
    if not names:
        raise GPTError(f"no backend is installed. Install one: {install_command('torch')} (or tf, flax)")
    return names
