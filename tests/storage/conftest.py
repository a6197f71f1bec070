"""A server that speaks the hub's protocol, with one repository."""

import pytest
from checkpoint_data import save
from hub_server import serving

from gptcore.spec.parameters import Head


@pytest.fixture
def hub(tmp_path):
    folder = save(tmp_path / "repository", Head.LM)
    for form in ("flax", "pytorch", "keras"):
        save(folder, Head.LM, form=form)
    (folder / "README.md").write_text("a card")
    with serving(folder) as server:
        yield server
