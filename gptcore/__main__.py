"""``python -m gptcore``: the command, where a launcher wants a module."""

from gptcore.cli import main

if __name__ == "__main__":
    main()
