"""The ``gptcore`` command."""

from gptcore.installation import install_command


def main() -> None:
    """Run the command line, or say what to install if its libraries are missing."""
    try:
        from gptcore.cli.app import app

        app()
    except ModuleNotFoundError as cause:
        if cause.name not in ("typer", "rich"):
            raise
        raise SystemExit(f"The gptcore command needs typer and rich: {install_command('cli')}") from cause
    except KeyboardInterrupt:  # before a command begins
        raise SystemExit(130) from None
