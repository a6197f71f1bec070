"""transformers reads every file that we write in its formats, and we read every one that it writes."""

import numpy as np
import pytest
import transformers
from checkpoint_data import save, values

from gptcore.checkpoint import open_pretrained
from gptcore.spec.parameters import Head

HEADS = pytest.mark.parametrize("head", list(Head), ids=lambda head: head.value)


def torch_class(head):
    return getattr(transformers, head.architecture)


def tf_class(head):
    return getattr(transformers, "TF" + head.architecture)


def same(path, head):
    found = dict(open_pretrained(path, head, "auto", allow_pickle=True, num_labels=3).values())
    for name, array in values(head, "float32"):
        np.testing.assert_array_equal(found[name], array, err_msg=name)


@HEADS
@pytest.mark.parametrize("shard", ["10GB", "2KB"])
@pytest.mark.parametrize("form", ["safetensors", "pytorch"])
def test_its_torch_classes(tmp_path, head, form, shard):
    ours = save(tmp_path / "ours", head, form=form, max_shard_size=shard)
    model, report = torch_class(head).from_pretrained(ours, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    theirs = tmp_path / "theirs"
    model.save_pretrained(theirs, safe_serialization=form == "safetensors", max_shard_size=shard)
    same(theirs, head)


@HEADS
@pytest.mark.filterwarnings("ignore:`TFSharedEmbeddings`:DeprecationWarning")  # of its own
def test_its_tensorflow_classes(tmp_path, head):
    ours = save(tmp_path / "ours", head, form="tf")
    model, report = tf_class(head).from_pretrained(ours, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    model.save_pretrained(tmp_path / "theirs")
    assert (tmp_path / "theirs" / "tf_model.h5").exists()
    same(tmp_path / "theirs", head)
