"""The scripts and notebooks of ``examples/`` run, and learn.

They run in this process, which has imported the frameworks. The notebook of PyTorch runs for fewer updates, and of the
others, which compile for long, only the imports; ``nox -s notebooks`` runs all of them whole, in a kernel.
"""

import ast
import json
import random
import re
import warnings

import nbformat
import notebooks
import pytest
from accelerate.state import AcceleratorState
from training_data import TEXT, tokenizer

EXAMPLES = notebooks.EXAMPLES
FEWER = {"max_steps=600": "max_steps=60"}  # what becomes of the updates of a notebook
SUBJECTS, GOOD, BAD = ("film", "book", "song", "play"), ("fine", "great", "lovely"), ("dull", "bad", "awful")


def numbers(name, text):
    return [float(value) for value in re.findall(rf"\b{name}:? (\d+\.\d+)", text)]


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_from_text_to_tasks(backend, script, tmp_path):
    draw = random.Random(0)
    folder = EXAMPLES / backend.name
    tokenizer().save_pretrained(tmp_path / "words")
    arguments = ("--tokenizer", tmp_path / "words", "--output", tmp_path / "lm", "--steps", 30, "--length", 32)
    losses = numbers("loss", script(folder / "run_clm.py", TEXT, *arguments))
    assert losses[-1] < losses[0] - 0.5

    reviews = [{"text": f"a {draw.choice(words)} {draw.choice(SUBJECTS)}", "label": label}
               for _ in range(107) for label, words in (("good", GOOD), ("bad", BAD))]  # fmt: skip
    training = ("--epochs", 6, "--learning_rate", 2e-3)
    rows = write(tmp_path / "reviews.jsonl", reviews)
    printed = script(
        folder / "run_text_classification.py",
        rows,
        "--model",
        tmp_path / "lm",
        *training,
        "--output",
        tmp_path / "reviews",
    )
    assert numbers("accuracy", printed)[-1] > 0.9

    choices = []
    for number in range(107):
        words = (draw.choice(GOOD), draw.choice(BAD))[:: 1 if number % 2 else -1]
        texts = {f"choice{i}": word for i, word in enumerate(words, 1)}
        choices.append({"context": f"a {draw.choice(SUBJECTS)} to see", **texts, "label": 1 - number % 2})
    rows = write(tmp_path / "choices.jsonl", choices)
    arguments = ("--model", tmp_path / "lm", *training, "--epochs", 8, "--output", tmp_path / "choices")
    printed = script(folder / "run_multiple_choice.py", rows, *arguments)
    assert numbers("accuracy", printed)[-1] > 0.9
    for name in ("lm", "reviews", "choices"):
        assert (tmp_path / name / "model.safetensors").is_file()
        assert (tmp_path / name / "vocab.json").is_file()


def test_an_example_in_mixed_precision(script, tmp_path, monkeypatch):
    """As accelerate's command line asks for it; the losses are almost those of float32."""
    tokenizer().save_pretrained(tmp_path / "words")
    arguments = ("--tokenizer", tmp_path / "words", "--output", tmp_path / "lm", "--steps", 4, "--length", 32)
    losses, weights = {}, set()
    for precision in ("no", "bf16"):
        monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", precision)
        AcceleratorState._reset_state()  # one precision for the whole process
        losses[precision] = numbers("loss", script(EXAMPLES / "torch" / "run_clm.py", TEXT, *arguments))
        weights.add((tmp_path / "lm" / "model.safetensors").read_bytes())
    AcceleratorState._reset_state()
    assert losses["bf16"] == pytest.approx(losses["no"], rel=0.01)
    assert len(weights) == 2


def cells_run(notebook):
    """Run the code cells in one namespace; the values of those that end in an expression."""
    names, values = {}, []
    for cell in notebook.cells:
        if cell.cell_type == "code":
            body = ast.parse(cell.source).body
            last = ast.Expression(body.pop().value) if isinstance(body[-1], ast.Expr) else None
            exec(compile(ast.Module(body, []), "notebook", "exec"), names)
            if last:
                values.append(eval(compile(last, "notebook", "eval"), names))
    return values


def test_the_imports_of_a_notebook(backend):
    for cell in STORED[backend.name].cells:
        if cell.cell_type == "code":
            imports = [line for line in ast.parse(cell.source).body if isinstance(line, (ast.Import, ast.ImportFrom))]
            exec(compile(ast.Module(imports, []), "notebook", "exec"), {})


def test_the_notebook_of_torch(tmp_path, monkeypatch):
    """Top to bottom, on fewer updates; it learns."""
    monkeypatch.chdir(tmp_path)
    notebook = nbformat.read(EXAMPLES / "torch" / "tour.ipynb", as_version=4)
    for cell in notebook.cells:
        for whole, fewer in FEWER.items():
            cell.source = cell.source.replace(whole, fewer)
    assert all(any(fewer in cell.source for cell in notebook.cells) for fewer in FEWER.values())
    with warnings.catch_warnings(action="ignore"):
        values = cells_run(notebook)
    (losses,) = (value for value in values if isinstance(value, tuple) and isinstance(value[0], float))
    assert losses[1] < losses[0] - 1
    (metrics,) = (value for value in values if isinstance(value, dict) and "accuracy" in value)
    assert metrics["accuracy"] > 0.9


STORED = {path.parent.name: nbformat.read(path, as_version=4) for path in sorted(EXAMPLES.glob("*/*.ipynb"))}
WRITE = "run: nox -s notebooks -- --write"


@pytest.mark.parametrize("name", STORED)
def test_stored_notebook(name):
    """It has the outputs of this code, all of them, and nothing of the machine and the moment that made them."""
    notebook = STORED[name]
    cells = notebooks.code_cells(notebook)
    assert notebook.metadata.pop("executed") == notebooks.fingerprint(notebook), f"the code has changed; {WRITE}"
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1)), WRITE
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata.language_info == {"name": "python"}
    assert not any(cell.metadata for cell in notebook.cells)
    for cell in cells:
        shows = isinstance(ast.parse(cell.source).body[-1], ast.Expr)
        assert any(output.output_type == "execute_result" for output in cell.outputs) == shows, cell.source
        assert any("image/png" in output.get("data", {}) for output in cell.outputs) == ("plot" in cell.source)
        for output in cell.outputs:
            assert output.output_type in ("execute_result", "stream"), output
            assert output.get("name") != "stderr" or re.fullmatch(r"\w+: .* is new and untrained, .*\n+", output.text)
    text = nbformat.writes(notebook)
    assert len(text) < 300_000
    assert not re.search(r"/(home|root|tmp|work|Users)/|\.local\b|site-packages|<0x|\bat 0x", notebooks.shown(notebook))
    notebooks.check(notebook)


def test_the_notebooks_tell_one_story():
    """The same sentences, and the same code where it is of no framework."""
    own = {"torch": "PyTorch", "tf": "Keras", "flax": "Flax"}
    texts = [
        [
            cell.source.replace(own[name], "*").replace(f"[{name},", "[*,")
            for cell in notebook.cells
            if cell.cell_type == "markdown"
        ]
        for name, notebook in STORED.items()
    ]
    assert texts[0] == texts[1] == texts[2]
    kinds = {tuple(cell.cell_type for cell in notebook.cells) for notebook in STORED.values()}
    assert len(kinds) == 1
