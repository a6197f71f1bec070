"""What users and authors of backends import is public: listed in ``__all__`` of a public package."""

import ast
import importlib
import inspect
import json
import re
import tomllib
from contextlib import suppress
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("backends", "checkpoint", "convert", "errors", "generation", "report", "spec", "storage", "training")
BACKENDS = ("gpt_torch", "gpt_tf", "gpt_flax")
PUBLIC = {
    "gptcore",
    *(f"gptcore.{room}" for room in ROOMS),
    "tokenization",
    *BACKENDS,
    *(f"{backend}.training" for backend in BACKENDS),
}
GROUPS = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"])
OURS = re.compile(r"\b(?:gptcore|tokenization|gpt_torch|gpt_tf|gpt_flax)\b(?:\.[A-Za-z_]\w*)*")
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *(path for path in (ROOT / "docs").rglob("*.md") if "generated" not in path.parts),
    ROOT / "gptcore/data/default/README.md",
]
PROGRAMS = [
    *(ROOT / "examples").rglob("*.py"),
    *(ROOT / "benchmarks").rglob("*.py"),
    ROOT / "conformance_tests" / "reference_backend.py",  # the site shows it to authors of backends
]
NOTEBOOKS = list((ROOT / "examples").rglob("*.ipynb"))


def sources(path):
    """The programs that a file holds."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return re.findall(r"```(?:py(?:thon)?|\{(?:run|frameworks)\})\n(?::.*\n)*(.*?)```", text, re.DOTALL)
    if path.suffix == ".ipynb":
        return ["".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    return [text]


def imports(source):
    """Module and name of each import, also in programs that a program holds as text; no name is the module itself."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            yield from ((node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and "import " in node.value:
            with suppress(SyntaxError):
                yield from imports(node.value)


def is_public(module, name):
    if name is None or f"{module}.{name}" in PUBLIC:
        return (module if name is None else f"{module}.{name}") in PUBLIC
    return module in PUBLIC and name in importlib.import_module(module).__all__


def path_is_public(path):
    """Whether a dotted path is a public package, or a member of one that exists."""
    module = next(module for module in sorted(PUBLIC, key=len, reverse=True) if f"{path}.".startswith(f"{module}."))
    first, *rest = path.removeprefix(module).lstrip(".").split(".")
    if not first:
        return True
    found = getattr(importlib.import_module(module), first, None) if is_public(module, first) else None
    for name in rest:
        found = getattr(found, name, None) or getattr(found, "__annotations__", {}).get(name)
    return found is not None


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_a_public_package_says_what_it_holds(name):
    package = importlib.import_module(name)
    assert package.__doc__
    assert [member for member in package.__all__ if not hasattr(package, member)] == []
    assert len(set(package.__all__)) == len(package.__all__)


def our_members(value):
    """The public methods and properties of a class that our code defines, also in classes that it inherits from."""
    for name in dir(value):
        member = inspect.getattr_static(value, name)
        function = getattr(member, "fget", getattr(member, "__func__", member))
        module = getattr(function, "__module__", None) or ""
        if not name.startswith("_") and inspect.isroutine(function) and OURS.fullmatch(module):
            yield name


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_every_public_name_is_described(name):
    """Also methods and properties; a method that overrides one may inherit the description."""
    package = importlib.import_module(name)
    members = {member: getattr(package, member) for member in package.__all__}
    members |= {
        f"{member}.{part}": getattr(value, part)
        for member, value in members.items()
        if inspect.isclass(value)
        for part in our_members(value)
    }
    described = {member for member, value in members.items() if inspect.getdoc(value)}
    assert members.keys() - described == set()


@pytest.mark.parametrize("path", [*PAGES, *PROGRAMS, *NOTEBOOKS], ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_are_public(path):
    ours = [(module, name) for source in sources(path) for module, name in imports(source) if OURS.match(module)]
    assert [f"{module}: {name}" for module, name in ours if not is_public(module, name)] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_names_in_prose_are_public(path):
    code = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL))
    dotted = {
        name for text in code for name in OURS.findall(text) if "." in name and not re.search(r"/\s*$|\.py$", name)
    }
    assert sorted(name for name in dotted - GROUPS if not path_is_public(name)) == []


def test_private_and_unknown_names_are_not_public():
    """The checks above can fail."""
    assert list(imports("from a import b\nx = 'import c\\nfrom d import e'")) == [("a", "b"), ("c", None), ("d", "e")]
    for module, name in (
        ("gptcore.spec.config", "OpenAIGPTConfig"),
        ("gptcore", "Head"),
        ("gptcore.spec.config", None),
    ):
        assert not is_public(module, name)
    for path in (
        "gptcore.spec.config",
        "gptcore.recipe",
        "gptcore.training.nothing",
        "gptcore.training.Recipe.nothing",
    ):
        assert not path_is_public(path)
    for path in (
        "gptcore",
        "gptcore.spec",
        "gptcore.training.Recipe.total_steps",
        "gptcore.backends.BackendModel.config",
    ):
        assert path_is_public(path)
