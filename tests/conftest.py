"""Units of the core, of the tokenizers, of the command line and of the documentation."""

pytest_plugins = ("suite",)
