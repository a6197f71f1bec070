"""What an import brings with it; run in environments that hold one framework, or none.

Each check runs in a fresh interpreter, because an import can't be undone.
"""

import importlib.util
import json
import subprocess
import sys

import pytest

from gptcore.installation import install_command

FRAMEWORKS = {"torch": "torch", "tf": "tensorflow", "flax": "flax"}
ROOTS = ("torch", "tensorflow", "keras", "jax", "flax")

COUNT = """
import json, sys
def loaded(): return {name.partition(".")[0] for name in sys.modules}
for name in NEEDED: __import__(name)
before = loaded()
import PACKAGE
print(json.dumps(sorted((loaded() - before) & set(ROOTS))))
"""


def added_by(package, needed=()):
    """Frameworks that importing a package loads beyond what its own framework loads by itself."""
    script = COUNT.replace("NEEDED", repr(needed)).replace("PACKAGE", package).replace("ROOTS", repr(ROOTS))
    out = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=True)
    return json.loads(out.stdout)


@pytest.mark.parametrize("package", ["gptcore", "tokenization", "gptcore.backends", "gptcore.spec.reference"])
def test_the_core_loads_no_framework(package):
    assert added_by(package) == []


def test_a_backend_loads_no_other_framework(pytestconfig):
    for name in pytestconfig.getoption("--backend") or FRAMEWORKS:
        if name != "core":
            own = ["tensorflow", "keras"] if name == "tf" else [FRAMEWORKS[name]]
            assert added_by(f"gpt_{name}", own) == []


def test_a_missing_framework_is_one_line_with_the_install_command(pytestconfig):
    """Blocked where it is installed, absent where it is not: the same message."""
    for name, framework in FRAMEWORKS.items():
        script = f"import sys; sys.modules[{framework!r}] = None\nimport gpt_{name}"
        out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert out.returncode == 1
        last = out.stderr.strip().splitlines()[-1]
        assert last.startswith("ModuleNotFoundError: ")
        assert install_command(name) in last


def test_only_the_requested_frameworks_are_here(pytestconfig):
    """In an isolation environment the others must be absent, or the checks above prove nothing."""
    requested = pytestconfig.getoption("--backend")
    if not requested:
        requested = list(FRAMEWORKS)
    for name, framework in FRAMEWORKS.items():
        assert (importlib.util.find_spec(framework) is not None) == (name in requested), framework
