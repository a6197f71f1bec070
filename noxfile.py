"""Every developer task. ``nox`` runs what CI runs; ``nox -s demo`` shows the library at work."""

import os
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "venv"
nox.options.sessions = ["lint", "types", "core", "isolation", "tests"]
nox.options.error_on_missing_interpreters = "CI" in os.environ

PYTHON = "3.11"
PYTHONS = ("3.11", "3.12", "3.13")
BACKENDS = ("torch", "tf", "flax")
PEERS = ("transformers==4.57.6", "keras-hub==0.32.0", "ctranslate2==4.8.5", "tensorflow==2.21.0", "keras==3.15.1")
TEST_TOOLS = ("pytest", "pytest-xdist", "hypothesis")
EXAMPLE_TOOLS = ("nbclient", "ipykernel", "grain")
NO_FRAMEWORK = ("conformance_tests/core", "conformance_tests/text")
ONE_FRAMEWORK = ("conformance_tests/test_padding.py", "conformance_tests/backends/test_{}.py")
TWO_PROCESSES = ("python", "-m", "pytest", "-n", "2")
SUITE = {
    "OMP_NUM_THREADS": "1",  # in each process: compiling, most of the time, has no more
    "JAX_COMPILATION_CACHE_DIR": str(Path(".nox", "jax").resolve()),  # what one session compiled, the next finds
}


def install(session, *requirements):
    """Install with the versions of ``constraints.txt``."""
    session.install("-c", "constraints.txt", *requirements)


def install_torch(session):
    """PyTorch first and pinned: an open range would take a build with gigabytes of CUDA libraries."""
    session.install("torch==2.13.0")


@nox.session(python=PYTHON)
def demo(session):
    """One story from all three frameworks, and the parity table, from the model that ships inside."""
    install_torch(session)
    install(session, ".[torch,tf,flax,cli]")
    session.run("gptcore", "demo", *session.posargs)


@nox.session(python=PYTHON)
def tests(session):
    """With all three frameworks, what runs in no other session; also all scripts and commands of the documentation."""
    install_torch(session)
    install(session, "-e", ".[all]", *TEST_TOOLS, *EXAMPLE_TOOLS)
    elsewhere = {*NO_FRAMEWORK, *(path.format(backend) for path in ONE_FRAMEWORK for backend in BACKENDS)}
    session.run(*TWO_PROCESSES, *(f"--ignore={path}" for path in sorted(elsewhere)), *session.posargs, env=SUITE)


@nox.session(python=PYTHONS)
def core(session):
    """The core and the tokenizers without any framework, on every supported Python."""
    install(session, "-e", ".[original,train,convert]", *TEST_TOOLS)
    suite = ("conformance_tests/test_isolation.py", *NO_FRAMEWORK)
    session.run(*TWO_PROCESSES, "--backend", "core", *suite, *session.posargs)


@nox.session(python=PYTHON)
@nox.parametrize("backend", BACKENDS)
def isolation(session, backend):
    """One framework alone: what its package imports, and the tests that are about one backend."""
    if backend == "torch":
        install_torch(session)
    install(session, "-e", f".[{backend},cli]", *TEST_TOOLS)
    suite = ("conformance_tests/test_isolation.py", *(path.format(backend) for path in ONE_FRAMEWORK))
    session.run(*TWO_PROCESSES, "--backend", backend, *suite, *session.posargs, env=SUITE)


@nox.session(python=PYTHON, default=False)
def conformance(session):
    """Only what holds the backends to the reference and to each other; ``-- --backend torch`` for one. Opt-in."""
    install_torch(session)
    install(session, "-e", ".[torch,tf,flax,train]", *TEST_TOOLS)
    names = ("cases", "weights", "padding", "inputs", "cache", "defects")
    suite = [f"conformance_tests/test_{name}.py" for name in names]
    folders = ("conformance_tests/generation", "conformance_tests/training")
    session.run(*TWO_PROCESSES, *suite, *folders, *session.posargs, env=SUITE)


@nox.session(python=PYTHON, default=False)
def full_size(session):
    """116,534,784 parameters: accuracy, loading time and memory, into the README. Opt-in: ten minutes and 8 GB."""
    install_torch(session)
    install(session, "-e", ".[torch,tf,flax,cli]")
    session.run("python", "conformance_tests/full_size.py", *session.posargs)


@nox.session(python=PYTHON, default=False)
def sampling(session):
    """1,000 sampled sequences at full size are the same in all three frameworks. Opt-in: an hour and 6 GB."""
    install_torch(session)
    install(session, "-e", ".[torch,tf,flax]")
    session.run("python", "conformance_tests/full_size_sampling.py", session.create_tmp(), *session.posargs)


@nox.session(python=PYTHON, default=False)
def kills(session):
    """Training killed at 20 random moments in each framework, saves at 200 in each format. Opt-in: half an hour."""
    install_torch(session)
    install(session, "-e", ".[all]", *TEST_TOOLS)
    suite = ("conformance_tests/training/test_command.py", "conformance_tests/core/test_formats.py", "-k", "killed")
    session.run(*TWO_PROCESSES, *suite, env={**SUITE, "GPTCORE_KILLS": "20", "GPTCORE_SAVE_KILLS": "200"})


@nox.session(python=PYTHON, default=False)
def fuzz(session):
    """100,000 mutated files against the reader of each format. Opt-in: an hour of one core."""
    install(session, "-e", ".[convert]")
    session.run("python", "conformance_tests/fuzz.py", *session.posargs)


@nox.session(python=PYTHON, default=False)
def bench(session):
    """Speed of generation beside that of others, who have an environment of their own. Opt-in: an idle half hour."""
    install_torch(session)
    install(session, "-e", ".[torch,tf,flax]", "matplotlib")
    peers = Path(session.create_tmp(), "peers")
    session.run("python", "-m", "venv", str(peers))
    for requirements in (["torch==2.13.0"], PEERS):
        session.run(str(peers / "bin" / "pip"), "install", *requirements, external=True)
    python = str(peers / "bin" / "python")
    session.run("python", "benchmarks/generation.py", "--peer-python", python, "--out", "build/bench", *session.posargs)


@nox.session(python=PYTHON, default=False)
def transformers(session):
    """Against transformers 4.57.6: all of it. ``-- golden`` writes the golden files. Opt-in."""
    session.install("torch==2.13.0")
    session.install("transformers==4.57.6", "tensorflow==2.21.0", "tf_keras==2.21.0", "pytest")
    session.install("-e", ".[torch,original,convert]")
    if session.posargs == ["golden"]:
        for folder in ("text", "generation"):
            session.run("python", f"conformance_tests/{folder}/make_golden.py")
    else:
        session.run("python", "-m", "pytest", "conformance_tests/against_transformers", *session.posargs)


@nox.session(python=PYTHON, default=False)
def oldest(session):
    """The lower bounds of the dependencies, but for PyTorch's. Opt-in."""
    bounds = ("numpy==2.0.*", "safetensors==0.5.*", "tokenizers==0.21.*", "huggingface_hub==0.30.*", "typer==0.15.*")
    frameworks = ("tensorflow==2.20.0", "keras==3.15.0", "h5py==3.11.0", "jax==0.9.0", "flax==0.12.3")
    session.install("-e", ".[tf,flax,cli]", *bounds, *frameworks, "rich==13.*", "pytest==8.*", "hypothesis")
    session.install("pytest-xdist")
    session.run(*TWO_PROCESSES, "conformance_tests/test_cases.py", "--backend=tf", "--backend=flax", env=SUITE)


@nox.session(python=PYTHON)
def lint(session):
    """Style and format."""
    install(session, "ruff")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session(python=PYTHON)
def types(session):
    """Strict types on the core and the tokenization."""
    install(session, "mypy", "types-PyYAML", ".[original,train]")
    session.run("mypy")


@nox.session(python=PYTHON, default=False)
def cases(session):
    """Make the case folders again."""
    session.install("-e", ".")
    session.run("python", "conformance_tests/make_cases.py")
