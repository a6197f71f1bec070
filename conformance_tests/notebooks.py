"""Run the notebooks of ``examples/`` whole, each in a kernel, and check what they show.

python conformance_tests/notebooks.py
"""

import re
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def main():
    for path in sorted((Path(__file__).parents[1] / "examples").glob("*/*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        with tempfile.TemporaryDirectory() as folder:
            NotebookClient(notebook, timeout=600, resources={"metadata": {"path": folder}}).execute()
        outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
        shown = " ".join(output["data"].get("text/plain", "") for output in outputs if "data" in output)
        right, written = map(int, re.search(r"(\d+) of (\d+) sentences", shown).groups())
        accuracy = float(re.search(r"'accuracy': ([\d.]+)", shown)[1])
        print(f"{path.parent.name}: {right} of {written} sentences are of the grammar, accuracy {accuracy}")
        assert right > written / 2
        assert accuracy > 0.9


if __name__ == "__main__":
    main()
