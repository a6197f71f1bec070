"""All packages and the calls in ``tests/support/typed_calls.py`` pass mypy; ``pyproject.toml`` has its settings."""

import subprocess
import sys
from pathlib import Path


def test_types():
    """Beside the other tests, since mypy uses one processor."""
    root = Path(__file__).parents[1]
    out = subprocess.run([sys.executable, "-m", "mypy"], cwd=root, capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stdout + out.stderr
