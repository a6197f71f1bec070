"""What commands keep from standard error while they import a backend."""

import os

import pytest

from gptcore.cli.loading import load_backends, quiet
from gptcore.errors import GPTError


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


def test_a_closed_standard_error_is_no_obstacle(monkeypatch):
    def closed(descriptor):
        raise OSError("Bad file descriptor")

    monkeypatch.setattr(os, "dup", closed)
    with quiet():
        pass


def test_an_unknown_backend():
    with pytest.raises(GPTError, match="unknown backend 'mxnet'; known are torch, tf, flax"):
        load_backends(["mxnet"])
