"""Transactions on a folder, and the journal that finishes them."""

import pytest

from gptcore.errors import StorageError
from gptcore.storage.transaction import JOURNAL_NAME, Transaction, recover


@pytest.mark.parametrize(
    "journal",
    [
        "",
        "[]",
        "{}",
        '{"rename": {".gptcore-save-1": "../x"}, "remove": []}',
        '{"rename": {"config.json": "x"}, "remove": []}',
        '{"rename": {}, "remove": ["/etc/passwd"]}',
        '{"rename": {}, "remove": [7]}',
    ],
)
def test_a_hostile_journal_is_refused(tmp_path, journal):
    (tmp_path / JOURNAL_NAME).write_text(journal)
    with pytest.raises(StorageError, match=r"\.gptcore-save\.json is damaged"):
        recover(tmp_path)


def test_a_transaction_that_fails_changes_nothing(tmp_path):
    (tmp_path / "old").write_text("old")

    def half():
        with Transaction(tmp_path) as changes:
            with changes.file("old") as file:
                file.write(b"new")
            with changes.directory("new") as directory:
                (directory / "file").write_text("new")
            changes.remove("old")
            raise KeyError("the caller's own")

    with pytest.raises(KeyError):
        half()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("old", "old")]
