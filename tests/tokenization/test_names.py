"""The public names of the package."""

import tokenization
from gptcore.errors import GPTError
from tokenization import TokenizerError


def test_the_public_names():
    assert tokenization.__all__ == sorted(tokenization.__all__)
    for name in tokenization.__all__:
        assert getattr(tokenization, name).__doc__
    assert issubclass(TokenizerError, GPTError)
