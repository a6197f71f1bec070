"""A directive ``sources``: the same function or class in the three backends, in tabs, below that of the reference.

The argument is a file of the backends and a name in it, as PyTorch has it; the option ``reference`` is a name in
``gptcore/spec/reference.py``. The text comes from the source, so that it is never out of date.
"""

from __future__ import annotations

from agreement import TITLES, translated
from docutils import nodes
from docutils.parsers.rst import directives
from executed import Executed

FORWARD = {"torch": "forward", "tf": "call", "flax": "__call__"}


class Sources(Executed):
    """Show the reference and the three backends."""

    required_arguments = 2
    option_spec = {"reference": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        file, name = self.arguments
        shown = ""
        if "reference" in self.options:
            shown = included("gptcore/spec/reference.py", self.options["reference"])
        tabs = "".join(
            f":::{{tab-item}} {title}\n:sync: {framework}\n\n"
            f"{included(f'gpt_{framework}/{file}', named(name, framework))}:::\n"
            for framework, title in TITLES.items()
        )
        return self.markdown(f"{shown}\n::::{{tab-set}}\n:sync-group: framework\n\n{tabs}::::\n")


def named(name: str, framework: str) -> str:
    """The name of a class or method in a framework.

    >>> named("OpenAIGPTModel.forward", "tf")
    'TFOpenAIGPTModel.call'
    """
    return translated(name, framework).replace(".forward", f".{FORWARD[framework]}")


def included(file: str, name: str) -> str:
    """The MyST for a part of a source file."""
    return f"```{{literalinclude}} /../{file}\n:pyobject: {name}\n:dedent:\n:caption: {file}\n```\n"


def setup(app) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("sources", Sources)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
