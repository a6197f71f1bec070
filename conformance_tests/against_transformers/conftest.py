"""Opt-in: these tests are collected only where the command line names their folder."""

from pathlib import Path

FOLDER = Path(__file__).parent


def pytest_ignore_collect(config):
    named = [(config.invocation_params.dir / argument.split("::")[0]).resolve() for argument in config.args]
    return None if any(path.is_relative_to(FOLDER) for path in named) else True
