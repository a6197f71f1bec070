"""All packages pass mypy with the settings of ``[tool.mypy]`` in ``pyproject.toml``."""

import subprocess
import sys
from pathlib import Path


def test_types():
    """Beside the other tests, since mypy uses one processor."""
    root = Path(__file__).parents[1]
    out = subprocess.run([sys.executable, "-m", "mypy"], cwd=root, capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stdout + out.stderr
