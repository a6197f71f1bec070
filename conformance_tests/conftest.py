"""What certifies a backend; the options and fixtures are those of all tests."""

pytest_plugins = ("suite",)
