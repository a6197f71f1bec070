"""Import backends for a command, without the start-up lines that their libraries write."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import Annotated

import typer

from gptcore.backends import Backend, device_named, installed, load_backend, require
from gptcore.backends.training import LoadTrainer, load_trainers

Device = Annotated[
    str | None,
    typer.Option(
        help="Device to compute on, as the framework names it: cpu, cuda:0 or mps (torch), CPU:0 or GPU:0 (tf), cpu or "
        "gpu:0 (flax). Default: the framework's choice."
    ),
]


def load_backends(names: Sequence[str] | None = None) -> list[Backend]:
    """Import backends by name.

    Args:
        names: The backends to import. Default: every backend whose framework is installed.

    Raises:
        GPTError: A backend is unknown or cannot be imported, or none is installed.
    """
    with quiet():
        return [load_backend(name) for name in names or installed()]


def use_backend(context: typer.Context, name: str, device: str | None) -> Backend:
    """Import a backend and let it compute on a device until the command ends.

    Args:
        context: The context of the command.
        name: The backend.
        device: One of its devices. Default: the framework's own choice.

    Raises:
        GPTError: As ``load_backends``.
        ConfigError: This machine has no such device; the error lists its devices.
    """
    (backend,) = load_backends([name])
    if device is not None:
        require(backend, "devices")
        with quiet():
            chosen = device_named(device, backend.devices())
        context.with_resource(backend.on(chosen))
    return backend


def use_trainers(context: typer.Context, name: str, device: str | None) -> LoadTrainer:
    """Import the training of a backend, and let it compute on a device until the command ends; see ``use_backend``."""
    use_backend(context, name, device)
    with quiet():
        return load_trainers(name)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Capture standard error, including output of C++ code, and show it only after an error, not after Ctrl-C.

    TensorFlow prints some lines before it reads its log settings.
    """
    sys.stderr.flush()
    try:
        real = os.dup(2)
    except OSError:  # standard error is closed
        yield
        return
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        failed = False
        try:
            yield
        except Exception:
            failed = True
            raise
        finally:
            sys.stderr.flush()
            os.dup2(real, 2)
            os.close(real)
            if failed:
                held.seek(0)
                sys.stderr.write(held.read().decode(errors="replace"))
