"""The examples in the docstrings run."""

import doctest
import importlib
import pkgutil

import pytest

import tokenization

MODULES = [module.name for module in pkgutil.walk_packages(tokenization.__path__, "tokenization.")]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0


def test_there_are_examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    examples = [test for name in MODULES for test in finder.find(importlib.import_module(name)) if test.examples]
    assert len(examples) >= 15
