"""Run the code of the pages while the site is built; the build fails if the frameworks give different results.

Three directives for Python and the command line. Each page runs in a folder of its own, one kernel per framework, and
its blocks share their names as in a notebook.

* ``frameworks``: a block written once, for PyTorch. The other two tabs follow from it, because names differ by their
  prefix only. A line ``# PyTorch:``, ``# Keras:`` or ``# Flax:`` begins what one framework alone needs, and
  ``# All:`` ends it. All three run; what they print, and every array of floating-point numbers that the block names,
  must agree within ``gptcore.spec.TOLERANCES``.
* ``run``: a block that needs no comparison, in the kernel of PyTorch.
* ``command``: command lines, and what they print.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from agreement import TITLES, Result, differences, translated
from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from kernels import ENVIRONMENT, LIMIT, Kernels
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

logger = logging.getLogger(__name__)
KERNELS = Kernels()


class Executed(SphinxDirective):
    """What the three directives share."""

    has_content = True
    option_spec = {"alt": directives.unchanged, "quiet": directives.flag}

    def markdown(self, text: str) -> list[nodes.Node]:
        """Parse generated MyST."""
        node = nodes.container()
        self.state.nested_parse(StringList(text.splitlines(), self.get_location()), self.content_offset, node)
        return node.children

    def fail(self, text: str) -> None:
        """Report an error; the build turns it into a failure."""
        logger.error(text, location=self.get_location())

    def shown(self, result: Result) -> str:
        """The MyST for what a block printed and drew."""
        text = (
            ""
            if "quiet" in self.options or not result.text.strip()
            else fenced("{code-block} text\n:class: printed\n", result.text)
        )
        for picture in result.pictures:
            KERNELS.count += 1
            name = f"{KERNELS.page.replace('/', '-')}-{KERNELS.count}.svg"
            folder = Path(self.env.srcdir, "generated")
            folder.mkdir(exist_ok=True)
            (folder / name).write_bytes(picture)
            if "alt" not in self.options:
                self.fail("a block that draws must say what the picture shows, in :alt:")
            text += f"\n![{self.options.get('alt', '')}](/generated/{name})\n"
        return text


class Frameworks(Executed):
    """Code in three tabs, with the result of all three below."""

    def run(self) -> list[nodes.Node]:
        codes = {framework: translated("\n".join(self.content), framework) for framework in TITLES}
        with ThreadPoolExecutor() as pool:
            results = dict(zip(codes, pool.map(KERNELS.run, codes, codes.values()), strict=True))
        failed = [f"{framework}: {result.error}" for framework, result in results.items() if result.error]
        for text in failed or differences(results):
            self.fail(text)
        tabs = "".join(
            f":::{{tab-item}} {TITLES[framework]}\n:sync: {framework}\n\n{fenced('python', code)}\n:::\n"
            for framework, code in codes.items()
        )
        output = self.shown(results["torch"])
        return self.markdown(f"::::{{tab-set}}\n:sync-group: framework\n\n{tabs}::::\n\n{output}")


class Run(Executed):
    """Code and its result, in one framework. ``:fold:`` hides the code of a picture until it is asked for."""

    option_spec = {**Executed.option_spec, "fold": directives.flag}

    def run(self) -> list[nodes.Node]:
        code = "\n".join(self.content)
        result = KERNELS.run("torch", code)
        if result.error:
            self.fail(result.error)
        shown = fenced("python", code)
        if "fold" in self.options:
            shown = f"::::{{dropdown}} The code of this picture\n{shown}::::\n"
        return self.markdown(f"{shown}\n{self.shown(result)}")


class Command(Executed):
    """Command lines and what they print. A command that should fail ends in ``# fails``."""

    def run(self) -> list[nodes.Node]:
        shown = []
        for line in "\n".join(self.content).replace("\\\n", "\0").splitlines():
            line, fails, _ = line.partition("  # fails")
            command = line.replace("\0", " ")
            path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
            done = subprocess.run(
                shlex.split(command),
                cwd=KERNELS.place("torch"),
                env={**os.environ, **ENVIRONMENT, "PATH": path},
                capture_output=True,
                text=True,
                check=False,
                timeout=LIMIT,
            )
            if bool(done.returncode) != bool(fails):
                self.fail(f"{command} exits with {done.returncode}: {done.stderr}")
            printed = done.stdout + done.stderr if fails else done.stdout
            printed = printed.replace(f"{KERNELS.place('torch')}{os.sep}", "")  # another folder in each build
            written = line.replace("\0", "\\\n")
            shown.append(f"$ {written}\n{'' if 'quiet' in self.options else printed}")
        return self.markdown(fenced("console", "".join(shown)))


def fenced(language: str, text: str) -> str:
    """A code block of MyST."""
    return f"```````{language}\n{text.strip(chr(10))}\n```````\n"


def turn_page(app: object, name: str, source: list[str]) -> None:
    """Tell the kernels which page is read."""
    KERNELS.turn_to(name)


def setup(app) -> dict[str, bool]:
    """Register the directives."""
    for name, directive in {"frameworks": Frameworks, "run": Run, "command": Command}.items():
        app.add_directive(name, directive)
    app.connect("source-read", turn_page)
    app.connect("build-finished", lambda app, error: KERNELS.stop())
    return {"parallel_read_safe": False, "parallel_write_safe": True}
