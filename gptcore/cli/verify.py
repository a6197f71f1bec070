"""``gptcore verify``: how close each framework is to the float64 reference, as a table."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gptcore.checkpoint.opening import open_checkpoint
from gptcore.cli.convert import AllowPickle
from gptcore.cli.loading import load_backends
from gptcore.cli.settings import SHIPPED
from gptcore.convert.conversion import differences
from gptcore.release import DEFAULT_MODEL
from gptcore.verify import Error, Report, verify


def verify_command(
    checkpoint: Annotated[
        str, typer.Argument(help="A folder, or owner/name on the hub.", show_default=SHIPPED)
    ] = DEFAULT_MODEL,
    backend: Annotated[
        list[str] | None, typer.Option(help="Backend to compare (repeatable). Default: all installed.")
    ] = None,
    dtype: Annotated[str, typer.Option(help="float32, float64, bfloat16 or float16.")] = "float32",
    batch: Annotated[int, typer.Option(min=1, help="Number of rows of random ids.")] = 2,
    length: Annotated[
        int | None, typer.Option(min=1, help="Tokens per row. Default: as many as fit, up to 512.")
    ] = None,
    gradients: Annotated[bool, typer.Option(help="Also compare the gradient of every parameter.")] = True,
    seed: Annotated[int, typer.Option(help="Random seed for the test input.")] = 0,
    against: Annotated[
        str | None,
        typer.Option(
            help="Only compare the weights with this checkpoint, value by value, without any framework. Exit status 1 "
            "if any differ. Other options are ignored, except --allow-pickle."
        ),
    ] = None,
    allow_pickle: AllowPickle = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Run a checkpoint through every backend and the float64 reference; exit status 1 if a tolerance is exceeded."""
    if against is not None:
        _compare(checkpoint, against, allow_pickle)
        return
    report = verify(
        checkpoint,
        load_backends(backend),
        dtype=dtype,
        batch=batch,
        length=length,
        gradients=gradients,
        seed=seed,
        **({"allow_pickle": True} if allow_pickle else {}),
    )
    if as_json:
        print(json.dumps(report.to_dict(), indent=2))
    else:
        print_report(report)
    raise typer.Exit(0 if report.passed else 1)


def _compare(checkpoint: str, other: str, allow_pickle: bool) -> None:
    """Print the parameters that differ between two checkpoints; exit status 1 if any does."""
    ours, theirs = (open_checkpoint(source, allow_pickle=allow_pickle) for source in (checkpoint, other))
    differing = list(differences(ours, theirs))
    for name, largest in differing:
        print(f"{name}: differs by {largest:.3e} at most")
    print(f"{len(ours.matching.sources) - len(differing)} of {len(ours.matching.sources)} tensors are equal")
    raise typer.Exit(1 if differing else 0)


LEGEND = """\
largest    largest difference from the float64 reference; for gradients,
           relative to the largest entry of each tensor
eps32      largest, in multiples of the float32 epsilon (1.2e-07)
typical    root mean square of the differences; for gradients, of the
           largest relative differences of all tensors
of limit   share of the tolerance used; above 100% the check fails
           (logits: relative to the largest logit, if it is above 1)
seconds    time to load the model and compute all quantities
a - b      the same, between the logits of frameworks a and b"""


WIDTH = 80  # minimum width of the table, so that figures are never cut short


def print_report(report: Report) -> None:
    """The parity table, and whether all differences are within tolerance."""
    console = Console(highlight=False, width=max(WIDTH, Console().width))
    where = "bundled model" if report.checkpoint == DEFAULT_MODEL else report.checkpoint
    console.print(
        f"{escape(where)}: {report.parameters:,} parameters, {report.shape[0]} x {report.shape[1]} tokens, "
        f"{report.dtype} vs. float64"
    )
    table = Table()
    table.add_column("backend", no_wrap=True)
    table.add_column("quantity")
    for heading in ("largest", "eps32", "typical", "of limit", "seconds"):  # LEGEND explains them
        table.add_column(heading, justify="right")
    for item in report.backends:
        for i, error in enumerate(item.errors):
            first = i == 0
            table.add_row(
                item.name if first else "",
                error.quantity,
                *_figures(error),
                f"{item.seconds:.1f}" if first else "",
            )
        table.add_section()
    for (a, b), error in report.pairwise.items():
        table.add_row(f"{a} - {b}", error.quantity, *_figures(error), "")
    console.print(table)
    for item in report.backends:
        if item.not_claimed:
            console.print(f"{escape(item.name)} does not claim to compute: {', '.join(item.not_claimed)}")
    console.print(LEGEND)
    versions = [f"{name} {number}" for item in report.backends for name, number in item.versions.items()]
    console.print(", ".join(versions))
    if report.passed:
        largest = max(error.scaled / error.tolerance for item in report.backends for error in item.errors)
        console.print(f"[green]all differences are within tolerance; at most {largest:.0%} of a tolerance is used[/]")
    else:
        console.print("[red]a tolerance is exceeded[/]")
    for item in report.backends:
        if item.first_difference is not None:
            console.print(f"{escape(item.name)}: first difference: {escape(item.first_difference)}")


def _figures(error: Error) -> tuple[str, str, str, str]:
    colour = "green" if error.passed else "red"
    share = error.scaled / error.tolerance
    return (
        f"{error.largest:.2e}",
        f"{error.epsilons:,.1f}",
        f"{error.typical:.2e}",
        f"[{colour}]{'<1%' if 0 < share < 0.01 else f'{share:,.0%}'}[/]",
    )
