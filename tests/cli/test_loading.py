"""What commands keep from standard error while they import a backend."""

import os

import pytest

from gptcore.backends import device_named, discovery
from gptcore.cli.loading import load_backends, quiet
from gptcore.errors import ConfigError, GPTError


def write_as_cpp_does(text):
    os.write(2, text)


def test_start_up_lines_are_not_shown(capfd):
    with quiet():
        write_as_cpp_does(b"I0000 a greeting\n")
    write_as_cpp_does(b"afterwards\n")
    assert capfd.readouterr().err == "afterwards\n"


def test_they_are_shown_if_the_import_fails(capfd):
    def broken():
        write_as_cpp_does(b"libcudart.so.12 not found\n")
        raise ImportError("broken")

    with pytest.raises(ImportError), quiet():
        broken()
    assert "libcudart.so.12 not found" in capfd.readouterr().err


def test_they_are_not_shown_after_ctrl_c(capfd):
    def stopped():
        write_as_cpp_does(b"I0000 a greeting\n")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), quiet():
        stopped()
    assert capfd.readouterr().err == ""


def test_a_closed_standard_error_is_no_obstacle(monkeypatch):
    def closed(descriptor):
        raise OSError("Bad file descriptor")

    monkeypatch.setattr(os, "dup", closed)
    with quiet():
        pass


@pytest.fixture
def importing(monkeypatch):
    """A function that makes the import of torch fail so, and lists what is installed."""

    class Point:
        def __init__(self, error=None):
            self.error = error

        def load(self):
            if self.error:
                raise self.error
            return object()

    def list_installed(error):
        monkeypatch.setattr(discovery, "available", lambda *_: {"torch": Point(error), "flax": Point()})
        return discovery.installed()

    return list_installed


def test_only_a_missing_framework_counts_as_absent(importing):
    assert importing(ModuleNotFoundError("No module named 'torch'", name="torch")) == ["flax"]
    with pytest.raises(GPTError, match=r"cannot import backend 'torch': ImportError: libcudart\.so\.12"):
        importing(ImportError("libcudart.so.12"))
    with pytest.raises(GPTError, match="cannot import backend 'torch': RuntimeError: broken"):
        importing(RuntimeError("broken"))
    with pytest.raises(GPTError, match="cannot import backend 'torch': training needs accelerate"):
        importing(ModuleNotFoundError("training needs accelerate", name="accelerate"))


@pytest.mark.parametrize(
    ("device", "found"),
    [("cpu", "cpu"), ("CPU:0", "cpu"), ("cuda", "cuda:0"), ("CUDA:1", "cuda:1"), ("cuda:2", None), ("", None)],
)
def test_a_device_is_found_by_its_name(device, found):
    machine = ["cpu", "cuda:0", "cuda:1"]
    if found:
        assert device_named(device, machine) == found
    else:
        with pytest.raises(ConfigError, match=f"device must be one of cpu, cuda:0, cuda:1.*; got '{device}'"):
            device_named(device, machine)


def test_an_unknown_backend():
    with pytest.raises(GPTError, match="backend must be one of torch, tf, flax; got 'mxnet'"):
        load_backends(["mxnet"])
