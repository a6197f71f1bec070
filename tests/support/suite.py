"""Who takes part. A requested backend that is missing is an error, never a skip."""

import contextlib
import functools
import gc
import os
import runpy
import shutil
import signal
import sys
import tempfile
import warnings
from pathlib import Path

import pytest
from checkpoint_data import values
from defects import planted
from hypothesis import HealthCheck, settings

from gptcore.backends import load_backend
from gptcore.checkpoint import save_pretrained

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# No test depends on how busy the machine is.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

# TensorFlow and Triton (of PyTorch's CUDA builds) each bring an LLVM; Triton crashes if it comes second.
with contextlib.suppress(ImportError):
    import triton  # noqa: F401

BACKENDS = ("torch", "tf", "flax")
LONGEST = (
    "test_types.py",
    "test_examples.py",
    "test_many_machines.py",
    "test_distributed.py",
    "test_verify.py",
    "test_default_model.py",
    "test_readme.py",
)
CACHE = "JAX_COMPILATION_CACHE_DIR"
OPT_IN = ("against_transformers", "with_other_libraries")
MAPS, MANY_MAPS = Path("/proc/self/maps"), 20_000
kept_maps = 0  # when JAX was last cleared; TensorFlow frees none of its own


def pytest_configure(config):
    """One cache of compiled JAX programs for all test processes, and for the commands that tests start.

    A shell that starts the tests in the background has them ignore SIGINT, which tests send.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if CACHE not in os.environ:
        os.environ[CACHE] = config.jax_cache = tempfile.mkdtemp(prefix="gptcore-jax-")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    gc.set_threshold(20_000, 10, 10)  # the frameworks hold a million objects, which each full collection looks at


def pytest_collection_finish():
    """What the modules have imported stays: no collection looks at it again."""
    gc.freeze()


def pytest_collection_modifyitems(items):
    """The longest tests first: at the end, one process would work alone."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


def pytest_unconfigure(config):
    if hasattr(config, "jax_cache"):
        shutil.rmtree(config.jax_cache, ignore_errors=True)


def pytest_ignore_collect(collection_path, config):
    """Opt-in folders need other libraries; their tests are collected only where the command line names them."""
    if collection_path.name in OPT_IN:
        named = [(config.invocation_params.dir / argument.split("::")[0]).resolve() for argument in config.args]
        return None if any(path.is_relative_to(collection_path) for path in named) else True
    return None


def pytest_addoption(parser):
    parser.addoption(
        "--backend", action="append", metavar="NAME", help=f"who takes part; default: {', '.join(BACKENDS)}"
    )


def pytest_generate_tests(metafunc):
    if "backend" in metafunc.fixturenames:
        metafunc.parametrize("backend", requested(metafunc.config), indirect=True, scope="session")


def requested(config):
    return tuple(config.getoption("--backend") or BACKENDS)


@pytest.fixture(scope="session")
def backend(request):
    """One backend after the other."""
    return load_backend(request.param)


@pytest.fixture(scope="session")
def backends(request):
    """All of them."""
    return [load_backend(name) for name in requested(request.config)]


@pytest.fixture(autouse=True)
def _forget_compiled_programs():
    """Each program that JAX compiled holds memory maps, and a process may have only so many (65,530 on Linux)."""
    global kept_maps
    yield
    if "jax" in sys.modules and maps() > kept_maps + MANY_MAPS:
        sys.modules["jax"].clear_caches()
        gc.collect()
        kept_maps = maps()


def maps():
    """How many memory maps this process has; 0 where the system does not say."""
    return MAPS.read_bytes().count(b"\n") if MAPS.exists() else 0


@pytest.fixture
def make_checkpoint(tmp_path):
    """A function (config, head, dtype, seed) -> folder of a checkpoint at trained scale."""

    def make(config, head, dtype="float32", seed=0):
        folder = tmp_path / f"{head.value}-{dtype}-{seed}"
        save_pretrained(folder, config, head, dtype, values(head, dtype, config, seed))
        return folder

    return make


@pytest.fixture
def plant(backend, tmp_path):
    """A function (defect) -> a copy of the backend with that mistake; without one, a faithful copy."""
    return lambda defect=None: planted(backend.name, defect and defect.changes[backend.name], tmp_path)


@pytest.fixture
def unoptimised(backend):
    """The framework optimises nothing: where each test has a program of its own, compiling takes most of the time."""
    if backend.name == "tf":
        switch = sys.modules["tensorflow"].config.run_functions_eagerly
    elif backend.name == "flax":
        switch = functools.partial(sys.modules["jax"].config.update, "jax_disable_most_optimizations")
    else:
        switch = bool  # nothing is compiled
    switch(True)
    yield
    switch(False)
    if backend.name == "flax":
        sys.modules["jax"].clear_caches()  # so that no later test runs what was compiled in this one


@pytest.fixture
def run(monkeypatch, capsys):
    """A function (arguments) -> (exit status, standard output, standard error) of the command, in this process."""
    from gptcore.cli import app as cli

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["gptcore", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.app()
        return caught.value.code, *capsys.readouterr()

    return run


@pytest.fixture
def script(monkeypatch, capsys):
    """A function (path, arguments) -> what the script prints, in this process: it has imported the frameworks."""

    def script(*command):
        monkeypatch.setattr(sys, "argv", list(map(str, command)))
        capsys.readouterr()
        with warnings.catch_warnings(action="ignore"):
            runpy.run_path(sys.argv[0], run_name="__main__")
        return capsys.readouterr().out

    return script
