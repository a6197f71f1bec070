"""The files of ``tests/data`` are those whose checksums are on record."""

import hashlib

from text_data import DATA


def test_checksums():
    lines = (DATA / "SHA256SUMS").read_text().splitlines()
    recorded = {name: digest for digest, name in (line.split("  ") for line in lines)}
    files = {str(path.relative_to(DATA)) for path in DATA.rglob("*") if path.is_file()}
    assert recorded.keys() == files - {"README.md", "SHA256SUMS"}
    for name, digest in recorded.items():
        assert hashlib.sha256((DATA / name).read_bytes()).hexdigest() == digest, name
