"""A directive ``commands``: an entry for each command of ``gptcore``, from the application itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, get_args

import typer
from docutils import nodes
from docutils.statemachine import StringList
from sphinx.util.docutils import SphinxDirective

from gptcore.cli.app import application

VALUES = {str: "TEXT", int: "N", float: "X", Path: "PATH"}
"""How the value of an option is called, by its type."""


def commands(group: Any, name: str) -> Iterator[tuple[str, Any]]:
    """The full name of each command of a group, and the command."""
    for own_name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{name} {own_name}")
        else:
            yield f"{name} {own_name}", command


def entry(name: str, command: Any) -> Iterator[str]:
    """The lines of MyST that describe a command: its help, its examples, its options."""
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    usage = [argument(parameter) for parameter in arguments]
    yield from (f"### `{name}`", "", code(command.help.replace("\n", " ")), "")
    yield from ("```console", f"$ {' '.join([name, *usage, '[OPTIONS]'])}", "```", "")
    yield from ("```{table}", ":class: options", ":width: 100%", "", "| | |", "|---|---|")
    for parameter in command.params:
        if not parameter.hidden:
            title = argument(parameter) if parameter in arguments else option(parameter)
            yield f"| `{title}` | {meaning(parameter)} |"
    examples = [line for line in (command.epilog or "").splitlines() if line.startswith("gptcore")]
    yield "```"
    yield from ("", *(["```console", *(f"$ {line}" for line in examples), "```", ""] if examples else []))


def argument(parameter: Any) -> str:
    """An argument as it appears in the usage line."""
    name = parameter.name.upper() + ("..." if parameter.nargs == -1 else "")
    return name if parameter.required else f"[{name}]"


def option(parameter: Any) -> str:
    """The names of an option, and that of its value."""
    names = "/".join([*parameter.opts, *parameter.secondary_opts])
    if parameter.is_flag or parameter.secondary_opts or isinstance(parameter.default, bool):
        return names
    kind = parameter.type_descriptor.annotation
    kind = next(iter(get_args(kind)), kind)  # of a list, the type of its items
    if isinstance(kind, type) and issubclass(kind, Enum):
        return f"{names} {{{','.join(member.value for member in kind)}}}"
    return f"{names} {parameter.metavar or VALUES[kind]}"


def meaning(parameter: Any) -> str:
    """The help of an argument or option, with its default."""
    text = parameter.help.replace("|", "\\|").replace("*", "\\*")
    notes = ["Required."] if parameter.required and parameter.param_type_name == "option" else []
    shown, default = parameter.show_default, parameter.default
    if isinstance(shown, str):
        notes.append(f"Default: {shown}.")
    elif default is True:
        notes.append(f"Default: {parameter.opts[0]}.")
    elif shown and default is not None and default is not False:
        notes.append(f"Default: {default.value if isinstance(default, Enum) else default}.")
    notes += ["Repeatable."] if parameter.multiple and "repeat" not in text else []
    return code(" ".join([text, *notes]))


def code(text: str) -> str:
    """A help text with the names of options as code, together with a value that follows."""
    return re.sub(r"(?<!\w)--[a-z][a-z-]*( [a-z_]+=\.\.\.)?", r"`\g<0>`", text)


class Commands(SphinxDirective):
    """Document every command."""

    def run(self) -> list[nodes.Node]:
        group = typer.main.get_command(application)
        lines = [line for name, command in commands(group, "gptcore") for line in entry(name, command)]
        node = nodes.section()
        self.state.nested_parse(StringList(lines, self.get_location()), self.content_offset, node, match_titles=True)
        return node.children


def setup(app) -> dict[str, bool]:
    """Register the directive."""
    app.add_directive("commands", Commands)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
