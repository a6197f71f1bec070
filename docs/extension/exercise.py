"""Two directives that show planted defects, from the files that list them.

* ``exercise``: a defect as an exercise, with what the grader says, a hint and the solution. The argument is its number
  in ``conformance_tests/defects.toml``, which has the answer; the content explains it.
* ``defects``: a table of the defects in the ``defects.toml`` of a folder.
"""

from __future__ import annotations

import sys

from agreement import TITLES
from docutils import nodes
from docutils.parsers.rst import directives
from executed import Executed, fenced
from kernels import ROOT

sys.path.append(str(ROOT / "conformance_tests"))

from defects import Defect, read_defects

EXERCISES = {defect.exercise: (name, defect) for name, defect in read_defects(ROOT / "conformance_tests").items()}


class Exercise(Executed):
    """One exercise: symptom, hint, solution."""

    required_arguments = 1
    option_spec = {"hint": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        name, defect = EXERCISES[int(self.arguments[0])]
        explanation = "\n".join(self.content)
        solution = f"**The mistake: {name}.** {explanation}\n\n{corrections(defect)}"
        return self.markdown(
            f"The grader says: `first difference: {defect.first_difference}`\n\n"
            f":::{{dropdown}} Hint\n{self.options['hint']}\n:::\n"
            f":::::{{dropdown}} Solution\n{solution}:::::\n"
        )


class Defects(Executed):
    """All defects of a folder."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        defects = read_defects(ROOT / self.arguments[0])
        rows = "".join(f"| {name} | `{defect.case}` |\n" for name, defect in defects.items())
        return self.markdown(f"| {len(defects)} mistakes | case that must fail |\n|---|---|\n{rows}")


def corrections(defect: Defect) -> str:
    """The MyST for the change that mends a defect, in three tabs."""
    tabs = ""
    for framework, (file, right, wrong) in defect.changes.items():
        lines = [f"{sign} {line}" for sign, text in (("-", wrong), ("+", right)) for line in text.strip().splitlines()]
        tabs += f":::{{tab-item}} {TITLES[framework]}\n:sync: {framework}\n\nIn `{file}.py`:\n\n"
        tabs += f"{fenced('diff', chr(10).join(lines))}:::\n"
    return f"::::{{tab-set}}\n:sync-group: framework\n\n{tabs}::::\n"


def setup(app) -> dict[str, bool]:
    """Register the directives."""
    app.add_directive("exercise", Exercise)
    app.add_directive("defects", Defects)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
