"""Both tokenizers, for the files that test what they have in common."""

import pytest
from tokenizer_kinds import KINDS, MODES, load


@pytest.fixture(scope="module")
def loaded():
    """Both classes in both modes, with added tokens."""
    tokenizers = {(kind, mode): load(kind, mode) for kind in KINDS for mode in MODES}
    for tokenizer in tokenizers.values():
        tokenizer.add_special_tokens({"pad_token": "<pad>", "additional_special_tokens": ["_Start_"]})
        tokenizer.add_tokens(["xyzzy"])
    return tokenizers


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def kind(request):
    return request.param
