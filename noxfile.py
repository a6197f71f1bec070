"""Every developer task. ``nox -s demo`` shows the library at work; ``nox`` runs all tests, as CI does."""

import os
import shutil
import sys
import sysconfig
import tempfile
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "venv"
# A session runs on the Python that runs nox. CI also tests the core on the others, and misses none of them.
nox.options.sessions = ["core", "tests"] if "CI" in os.environ else ["tests"]
nox.options.error_on_missing_interpreters = "CI" in os.environ

PYTHONS = ("3.11", "3.12", "3.13")
THIS_PYTHON = "{}.{}".format(*sys.version_info)
if THIS_PYTHON not in PYTHONS:
    allowed = f"{', '.join(PYTHONS[:-1])} or {PYTHONS[-1]}"
    sys.exit(f"Python must be {allowed}; got {THIS_PYTHON}. Delete .venv and create it with a supported Python.")

BACKENDS = ("torch", "tf", "flax")
PEERS = ("transformers==4.57.6", "keras-hub==0.32.0", "ctranslate2==4.8.5", "tensorflow==2.21.0", "keras==3.15.1")
OTHERS = (
    *("transformers==5.24.0", "peft==0.21.2", "lightning==2.6.6", "torchao==0.18.0", "nnsight==0.8.1"),
    *("onnx==1.23.2", "onnxscript==0.7.2", "onnxruntime==1.32.0", "openvino==2026.4.1"),
    *("datasets==5.2.0", "pandas==3.1.1", "joblib"),
)
TEST_TOOLS = ("pytest", "pytest-xdist", "hypothesis", "packaging")
TEST_TOOLS += ("flatbuffers", "zstandard")  # jax.export needs the one; JAX's cache takes minutes without the other
EXAMPLE_TOOLS = ("nbformat", "ipython", "grain")
KERNEL = ("nbclient", "ipykernel")
STYLE = ("ruff", "import-linter")
SITE = ("sphinx", "myst-nb", "sphinx-design", "sphinx-copybutton", "furo")
TYPES = ("mypy", "types-PyYAML")
ROOMS = ("spec", "storage", "checkpoint", "convert", "generation", "training", "report", "tokenization", "cli")
NO_FRAMEWORK = ("tests/test_isolation.py", *(f"tests/{room}" for room in ROOMS))
ONE_FRAMEWORK = ("tests/test_isolation.py", "tests/frameworks/test_readme.py", "conformance_tests/test_padding.py")
AS_USERS = ("conformance_tests/test_default_model.py", "conformance_tests/test_verify.py")  # also cases in float32
TWO_PROCESSES = ("-m", "pytest", "-n", "2", "--dist", "worksteal")
UNPACKED = 1  # GB that pip needs in the folder of temporary files
SUITE = {
    "OMP_NUM_THREADS": "1",  # in each process: compiling, most of the time, has no more
    "JAX_COMPILATION_CACHE_DIR": str(Path(".nox", "jax").resolve()),  # what one run compiled, the next finds
    "XLA_FLAGS": "--xla_cpu_parallel_codegen_split_count=1",  # the other core has a process of its own
}
# XLA compiles small programs three times as fast, and they sum naively. What users see, and all cases in float32, run
# as XLA compiles by default.
FAST_XLA = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
FAST_SUITE = {**SUITE, "XLA_FLAGS": f"{SUITE['XLA_FLAGS']} {FAST_XLA}"}


def install(session, *requirements):
    """Install with the versions of ``constraints.txt``, in sight; modules are compiled when they are imported."""
    settings = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_COMPILE": "1", "PIP_USER": "0"}
    session.install("-c", "constraints.txt", *requirements, silent=False, env=settings)
    session.env["PYTHONDONTWRITEBYTECODE"] = ""  # or every process would compile them again
    session.env["KERAS_BACKEND"] = "tensorflow"  # whatever the user's own programs run on


def announce(session, what, minutes, gigabytes):
    """Say first what will happen and how long it takes; an error if the disk is too small for it."""
    for folder, needed in ((Path.cwd(), gigabytes), (tempfile.gettempdir(), UNPACKED)):
        free = shutil.disk_usage(folder).free / 1e9
        if free < needed:
            reason = f"{folder} has {free:.1f} GB of free disk space, and {needed} GB are needed"
            session.error(f"cannot install: {reason}. Free some disk space and run nox again.")
    session.log(f"{what} About {minutes} minutes and {gigabytes} GB of disk, more with a CUDA build of PyTorch.")


@nox.session
def demo(session):
    """One story from all three frameworks, and the parity table, from the bundled model."""
    announce(session, "Installs PyTorch, TensorFlow and JAX, then generates one story with each of them.", 3, 6)
    install(session, ".[torch,tf,flax,train]")
    session.run("gptcore", "demo", *session.posargs)


@nox.session
def tests(session):
    """Check style and types, test each framework alone, then all together; with arguments, run only pytest."""
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")  # as torch.compile chooses it
    if not shutil.which(compiler):
        session.error(f"cannot run the tests: torch.compile needs a C++ compiler. Install {compiler}, or set CXX.")
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        session.error("cannot run the tests: torch.compile needs Python.h. Install the package python3-dev.")
    announce(session, "Installs PyTorch, TensorFlow, JAX and the test tools, then runs all tests.", 12, 8)
    install(session, "-e", ".[all]", *TEST_TOOLS, *EXAMPLE_TOOLS, *STYLE, *TYPES)
    if session.posargs:
        session.run("python", *TWO_PROCESSES, *session.posargs, env=SUITE)
        return
    check_style(session)
    for backend in BACKENDS:
        test_alone(session, backend)
    cases = "conformance_tests/test_cases.py"
    session.run("python", *TWO_PROCESSES, *AS_USERS, cases, "-k", "float32 or not test_cases", env=SUITE)
    done = [f"--ignore={path}" for path in (*ONE_FRAMEWORK, *AS_USERS, "conformance_tests/backends")]
    done += [f"--deselect={cases}::test_outputs_and_gradients[{name}-float32" for name in BACKENDS]  # what begins so
    session.run("python", *TWO_PROCESSES, *done, env=FAST_SUITE)


def check_style(session):
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports", "--no-logo", "--no-cache")  # the layers in pyproject.toml


def test_alone(session, backend):
    """One framework in an environment that links only to what its extra requires."""
    folder = Path(session.create_tmp(), backend)
    shutil.rmtree(folder, ignore_errors=True)
    requirements = (f"gptcore-models[{backend},cli]", *TEST_TOOLS)
    session.run("python", "tests/support/linked.py", str(folder), *requirements)
    python = str(folder / "bin" / "python")
    session.run(python, *TWO_PROCESSES, *about_one(backend), env=FAST_SUITE, external=True)


def about_one(backend):
    """Arguments of pytest: the tests of one framework."""
    own = sorted(map(str, Path("conformance_tests", "backends").glob(f"test_{backend}*.py")))
    return ("--backend", backend, *ONE_FRAMEWORK, *own)


@nox.session(python=[version for version in PYTHONS if version != THIS_PYTHON])
def core(session):
    """The core and the tokenizers without any framework, on the other supported Pythons."""
    install(session, "-e", ".[original,train,convert]", *TEST_TOOLS)
    session.run("python", *TWO_PROCESSES, "--backend", "core", *NO_FRAMEWORK, *session.posargs, env=SUITE)


@nox.session(default=False)
@nox.parametrize("backend", BACKENDS)
def isolation(session, backend):
    """Test each framework where pip installed no other. Opt-in; ``tests`` does this with symbolic links."""
    install(session, "-e", f".[{backend},cli]", *TEST_TOOLS)
    session.run("python", *TWO_PROCESSES, *about_one(backend), *session.posargs, env=SUITE)


@nox.session(default=False)
def conformance(session):
    """Compare the backends with the reference and each other; ``-- --backend torch`` selects one. Opt-in."""
    install(session, "-e", ".[torch,tf,flax,train]", *TEST_TOOLS)
    names = ("cases", "eager", "weights", "padding", "inputs", "cache", "defects")
    suite = [f"conformance_tests/test_{name}.py" for name in names]
    folders = ("conformance_tests/generation", "conformance_tests/training")
    session.run("python", *TWO_PROCESSES, *suite, *folders, *session.posargs, env=SUITE)


@nox.session(default=False)
def full_size(session):
    """116,534,784 parameters: accuracy, loading time, memory, into the docs. Opt-in: ten minutes and 8 GB."""
    install(session, "-e", ".[torch,tf,flax,cli]")
    session.run("python", "conformance_tests/full_size.py", *session.posargs)


@nox.session(default=False)
def sampling(session):
    """1,000 sampled sequences at full size are the same in all three frameworks. Opt-in: an hour and 6 GB."""
    install(session, "-e", ".[torch,tf,flax]")
    session.run("python", "conformance_tests/full_size_sampling.py", session.create_tmp(), *session.posargs)


@nox.session(default=False)
def instruction_sets(session):
    """Measure how much of each tolerance is used with AVX2 or SSE4.2 only. Opt-in: half an hour."""
    install(session, "-e", ".[torch,tf,flax]")
    session.run("python", "conformance_tests/instruction_sets.py", env=SUITE)


@nox.session(default=False)
def notebooks(session):
    """Run each notebook of ``examples/`` in its own kernel; ``-- --write`` stores outputs. Opt-in: three minutes."""
    install(session, ".[all]", *EXAMPLE_TOOLS, *KERNEL)
    session.run("python", "tests/support/notebooks.py", *session.posargs, env=SUITE)


@nox.session(default=False)
def docs(session):
    """Build the site into ``build/docs``; the code on each page runs. Opt-in: five minutes and 6 GB."""
    install(session, "-e", ".[all]", *SITE, *EXAMPLE_TOOLS)
    session.run("sphinx-build", "--fail-on-warning", "--keep-going", "--quiet", "docs", "build/docs", *session.posargs)


@nox.session(default=False)
def kills(session):
    """Kill training at 20 random moments per framework, saves at 200 per format. Opt-in: half an hour."""
    install(session, "-e", ".[all]", *TEST_TOOLS)
    suite = ("tests/frameworks/test_train_command.py", "tests/checkpoint/test_interrupted_saves.py", "-k", "killed")
    session.run("python", *TWO_PROCESSES, *suite, env={**SUITE, "GPTCORE_KILLS": "20", "GPTCORE_SAVE_KILLS": "200"})


@nox.session(default=False)
def fuzz(session):
    """100,000 mutated files against the reader of each format. Opt-in: an hour of one core."""
    install(session, "-e", ".[convert]")
    session.run("python", "tests/support/fuzz.py", *session.posargs)


@nox.session(default=False)
def bench(session):
    """Compare generation speed with other libraries, in their own environment. Opt-in: half an hour, idle machine."""
    install(session, "-e", ".[torch,tf,flax]", "matplotlib")
    peers = Path(session.create_tmp(), "peers")
    session.run("python", "-m", "venv", str(peers))
    for requirements in (["torch==2.13.0"], PEERS):
        session.run(str(peers / "bin" / "pip"), "install", *requirements, external=True)
    python = str(peers / "bin" / "python")
    session.run("python", "benchmarks/generation.py", "--peer-python", python, "--out", "build/bench", *session.posargs)


@nox.session(default=False)
def transformers(session):
    """Run all comparisons with transformers 4.57.6. ``-- golden`` writes the golden files. Opt-in."""
    session.install("torch==2.13.0")
    session.install("transformers==4.57.6", "tensorflow==2.21.0", "tf_keras==2.21.0", "pytest", "hypothesis")
    session.install("-e", ".[torch,original,convert]")
    if session.posargs == ["golden"]:
        session.run("python", "tests/tokenization/make_golden_text.py")
        session.run("python", "conformance_tests/generation/make_golden_ids.py")
    else:
        session.run("python", "-m", "pytest", "conformance_tests/against_transformers", *session.posargs)


@nox.session(default=False)
def other_libraries(session):
    """PyTorch models in transformers 5, Lightning, PEFT, ONNX Runtime, OpenVINO and others. Opt-in: five minutes."""
    install(session, "-e", ".[torch]", *OTHERS, "pytest", "hypothesis")
    session.run("python", "-m", "pytest", "conformance_tests/with_other_libraries", *session.posargs)


@nox.session(default=False)
def oldest(session):
    """Test with the lowest supported version of each dependency except PyTorch. Opt-in."""
    bounds = ("numpy==2.0.*", "safetensors==0.5.*", "tokenizers==0.21.*", "huggingface_hub==0.30.*", "typer==0.15.*")
    frameworks = ("tensorflow==2.20.0", "keras==3.15.0", "h5py==3.11.0", "jax==0.9.0", "flax==0.12.3")
    session.install("-e", ".[tf,flax,cli]", *bounds, *frameworks, "rich==13.*", "pytest==8.*", "hypothesis")
    session.install("pytest-xdist")
    session.run(
        "python", *TWO_PROCESSES, "conformance_tests/test_cases.py", "--backend=tf", "--backend=flax", env=SUITE
    )


@nox.session(default=False)
def lint(session):
    """Style, format, and which room may import which."""
    install(session, *STYLE)
    check_style(session)


@nox.session(default=False)
@nox.parametrize("part", ["core", *BACKENDS])
def types(session, part):
    """Check the types of the core and of each backend where no other framework is installed. Opt-in: five minutes."""
    packages = ("gptcore", "tokenization") if part == "core" else (f"gpt_{part}",)
    install(session, *TYPES, f".[{'original' if part == 'core' else part},train]")
    session.run("mypy", *(argument for package in packages for argument in ("-p", package)))


@nox.session(default=False)
def cases(session):
    """Make the case folders again."""
    session.install("-e", ".")
    session.run("python", "conformance_tests/make_cases.py")
