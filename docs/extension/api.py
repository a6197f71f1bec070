"""A directive ``api``: an entry for every public name of a package, from its ``__all__``.

A name that several packages export has its entry in the first of ``PACKAGES`` that does; the others link to it.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.docutils import SphinxDirective

import gptcore

PACKAGES = (
    "gptcore",
    *(f"gptcore.{name}" for name in ("spec", "checkpoint", "convert", "storage", "generation", "training", "report")),
    *("gptcore.backends", "tokenization"),
    *(f"{name}{part}" for name in ("gpt_torch", "gpt_tf", "gpt_flax") for part in ("", ".training")),
)
OURS = ("gptcore", "tokenization", "gpt_torch", "gpt_tf", "gpt_flax")


def members(value: type, documented: set[type]) -> list[str]:
    """The public members of a class that it or a private ancestor of ours describes.

    Ancestors in ``documented`` have their own entries, and those of the frameworks their own sites.
    """
    described: dict[str, bool] = {}
    for base in value.__mro__:
        if base in documented - {value}:
            continue
        for name, member in vars(base).items():
            function = getattr(member, "fget", getattr(member, "__func__", member))
            is_ours = (getattr(function, "__module__", None) or "").partition(".")[0] in OURS
            is_described = inspect.isfunction(function) and is_ours and bool(function.__doc__)
            described.setdefault(name, is_described and not name.startswith("_"))
    return [name for name, is_described in described.items() if is_described]


def entries(package: str) -> list[tuple[str, str, str | None]]:
    """The public names of a package, with the directive for each and the package that has the entry if another does."""
    module = importlib.import_module(package)
    earlier = PACKAGES[: PACKAGES.index(package)]
    found = []
    for name in sorted(module.__all__, key=lambda name: (not name[0].isupper(), name.isupper(), name)):
        value = getattr(module, name)
        home = next((other for other in earlier if getattr(importlib.import_module(other), name, None) is value), None)
        kind = "class" if inspect.isclass(value) else "function" if callable(value) else "data"
        found.append((name, kind, home))
    return found


@functools.cache
def descriptions() -> dict[str, list[str]]:
    """The descriptions of the constants of ``gptcore``: the strings that follow them."""
    found = {}
    for module in pkgutil.walk_packages(importlib.import_module("gptcore").__path__, "gptcore."):
        if not module.ispkg:
            comments = ModuleAnalyzer.for_module(module.name).find_attr_docs()
            found |= {name: lines for (scope, name), lines in comments.items() if not scope}
    return found


class Api(SphinxDirective):
    """Document every public name of a package."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        package = self.arguments[0]
        module = importlib.import_module(package)
        classes = {value for name in module.__all__ if inspect.isclass(value := getattr(module, name))}
        lines = []
        for name, kind, home in entries(package):
            if home is not None:
                role = {"class": "class", "function": "func", "data": "data"}[kind]
                lines += ["", f"``{name}``", f"    See :{role}:`{home}.{name}`.", ""]
                continue
            if kind == "data":  # autodoc finds the description of a constant only where it is defined
                lines += ["", f".. py:data:: {package}.{name}", "", *(f"   {line}" for line in descriptions()[name])]
                continue
            lines += ["", f".. auto{kind}:: {package}.{name}"]
            if kind == "class" and (names := members(getattr(module, name), classes)):
                lines += [f"   :members: {', '.join(names)}"]
        text = ["```````{eval-rst}", *lines, "```````"]
        node = nodes.container()
        self.state.nested_parse(StringList(text, self.get_location()), self.content_offset, node)
        return node.children


def named_default(app, kind, name, value, options, signature, returned):
    """Show the default model by its name: its folder is another one on each machine."""
    return signature and signature.replace(repr(gptcore.DEFAULT_MODEL), "DEFAULT_MODEL"), returned


def setup(app) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("api", Api)
    app.connect("autodoc-process-signature", named_default)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
