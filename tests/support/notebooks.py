"""Run the notebooks of ``examples/`` whole, each in a kernel, and check what they show.

python tests/support/notebooks.py [--write] [FRAMEWORK ...]

With ``--write``, the notebooks are stored with what they showed.
"""

import argparse
import hashlib
import os
import re
import tempfile
from pathlib import Path

import nbformat

EXAMPLES = Path(__file__).parents[2] / "examples"
QUIET = {"PYTHONWARNINGS": "ignore:IProgress not found"}  # tqdm's, where there is Jupyter without its widgets


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def fingerprint(notebook):
    """Of the code, so that outputs are known to be of this code."""
    return hashlib.sha256("\0".join(cell.source for cell in code_cells(notebook)).encode()).hexdigest()[:16]


def shown(notebook):
    """All text that a notebook shows."""
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    return "\n".join(output.get("text", "") or output.get("data", {}).get("text/plain", "") for output in outputs)


def check(notebook):
    """The story that all notebooks tell; returns it in one line."""
    text = shown(notebook)
    first, last = map(float, re.search(r"^\((\d+\.\d+), (\d+\.\d+)\)$", text, re.MULTILINE).groups())
    right, written = map(int, re.search(r"(\d+) of (\d+) sentences", text).groups())
    weights = [float(weight) for weight in re.search(r"^\[(\d\.\d+), (\d\.\d+)\]$", text, re.MULTILINE).groups()]
    accuracy, baseline = (float(re.search(rf"'{name}': ([\d.]+)", text)[1]) for name in ("accuracy", "baseline"))
    assert last < first - 3
    assert right > 0.8 * written
    assert min(weights) > 0.5
    assert accuracy > 0.9 > baseline
    return f"loss {first} to {last}, {right} of {written} sentences, attention {weights}, accuracy {accuracy}"


def execute(path):
    """The notebook with what it shows, and nothing about when, where and on which Python it ran."""
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    metadata = {name: dict(notebook.metadata[name]) for name in ("kernelspec", "language_info")}
    with tempfile.TemporaryDirectory() as folder:
        client = NotebookClient(
            notebook,
            timeout=600,
            record_timing=False,
            extra_arguments=["--IPKernelApp.capture_fd_output=False"],  # lines that TensorFlow starts with
            resources={"metadata": {"path": folder}},
        )
        client.execute(env={**os.environ, **QUIET})
    notebook.metadata = nbformat.from_dict({**metadata, "executed": fingerprint(notebook)})
    return notebook


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("frameworks", nargs="*", help="default: all")
    parser.add_argument("--write", action="store_true", help="store the notebooks with their outputs")
    arguments = parser.parse_args()
    for path in sorted(EXAMPLES.glob("*/*.ipynb")):
        if not arguments.frameworks or path.parent.name in arguments.frameworks:
            notebook = execute(path)
            if arguments.write:
                nbformat.write(notebook, path)
            print(f"{path.parent.name}: {check(notebook)}")


if __name__ == "__main__":
    main()
