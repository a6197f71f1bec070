"""Where tests are: one name, one room, one subject of a readable length."""

from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = [path for tests in ("tests", "conformance_tests") for path in sorted((ROOT / tests).rglob("*.py"))]
MOST_LINES = 450
ELSEWHERE = {
    "backends": "needs a framework: tests/frameworks and conformance_tests/backends",
}


def test_no_file_name_comes_twice():
    counts = Counter(path.name for path in MODULES)
    assert [name for name, count in counts.items() if count > 1] == ["conftest.py"]  # as pytest wants it


@pytest.mark.parametrize("room", sorted(path.parent.name for path in (ROOT / "gptcore").glob("*/__init__.py")))
def test_each_room_of_the_core_has_its_tests(room):
    assert any((ROOT / "tests" / room).glob("test_*.py")) != (room in ELSEWHERE)


def test_no_file_is_too_long():
    lengths = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES}
    assert {name: length for name, length in lengths.items() if length > MOST_LINES} == {}
