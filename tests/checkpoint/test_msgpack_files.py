"""MessagePack files of Flax: hostile ones are one error."""

import pytest
from refusals import refused

HOSTILE_MSGPACK = {
    "a list": (b"\x91\x01", "not a recognised weights file"),
    "a pickle": (b"\x80\x02}.", "not a recognised weights file"),
    "no value": (b"\x81\xa1a", "damaged"),
    "a number": (b"\x81\xa1a\x05", "'a' is not an array"),
    "another extension": (b"\x81\xa1a\xd4\x02\x00", "got another msgpack extension"),
    "size bomb": (
        b"\x81\xa1a\xc9\xff\xff\xff\xff\x01\x93\x91\xce\x3f\xff\xff\xff\xa7float32\xc6\xff\xff\xff\xfc",
        "claims",
    ),
    "many entries": (b"\xdf\xff\xff\xff\xff\xa1a\x80", "damaged"),
    "deep": (b"\x81\xa1a" * 10_000, "more than 16 deep"),
    "same name": (b"\x82\xa1a\x80\xa1a\x80", "occurs twice"),
    "rest": (b"\x80\x00", "belong to no tensor"),
    "shape and size": (b"\x81\xa1a\xc7\x10\x01\x93\x91\x02\xa7float32\xc4\x04abcd", "cannot have 4 bytes"),
    "empty": (b"", "not a recognised weights file"),
}


@pytest.mark.parametrize("name", HOSTILE_MSGPACK)
def test_hostile_msgpack_files_are_one_error(tmp_path, name):
    path = tmp_path / "flax_model.msgpack"
    path.write_bytes(HOSTILE_MSGPACK[name][0])
    refused(path, HOSTILE_MSGPACK[name][1])
