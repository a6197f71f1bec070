"""What the formats say about themselves: names in both directions, and which files they have."""

import json

import numpy as np
import pytest
from checkpoint_data import CONFIG
from text_data import VOCABULARY

from gptcore import CheckpointError, OpenAIGPTConfig
from gptcore.checkpoint.folder import weights_files
from gptcore.checkpoint.formats import FORMATS, keras, openai, tf
from gptcore.checkpoint.formats.base import FileFormat
from gptcore.checkpoint.layouts import TRANSFORMS, canonical_name, foreign_name, keras_model, nnx
from gptcore.spec.parameters import ROWS, Head, parameters

FILE_FORMATS = [form for form in FORMATS.values() if isinstance(form, FileFormat)]
TABLES = [tf, keras, keras_model, nnx]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.__name__)
def test_tables_are_total_and_injective(table):
    assert set(table.ROWS) == {row.name for row in ROWS}
    config = OpenAIGPTConfig(n_layer=12, n_embd=12)
    names = []
    for head in (Head.DOUBLE_HEADS, Head.SEQUENCE_CLASSIFICATION):
        names += [foreign_name(table.ROWS, parameter) for parameter in parameters(config, head).values()]
    assert len({name for name, _ in names}) == len(set(parameters(config, Head.DOUBLE_HEADS)) | {"score.weight"})
    assert {transform for _, transform in names} <= set(TRANSFORMS)
    for parameter in parameters(config, head).values():
        name, transform = foreign_name(table.ROWS, parameter)
        assert canonical_name(table.ROWS, name) == (parameter.name, transform)
    assert canonical_name(table.ROWS, "h.00.attn.c_attn.weight") is None


def test_openais_order_is_the_whole_trunk():
    released = json.loads((VOCABULARY / "params_shapes.json").read_text())
    table = parameters(OpenAIGPTConfig())
    order = openai.order(12)
    assert sorted(order) == sorted(table)
    for name, shape in zip(order, released, strict=True):
        transform = TRANSFORMS[foreign_name(openai.ROWS, table[name])[1]]
        assert list(transform(np.broadcast_to(0, table[name].shape)).shape) == shape


@pytest.mark.parametrize("form", FILE_FORMATS, ids=lambda form: form.name)
def test_a_format_reads_the_names_that_it_writes(form):
    for head in Head:
        for parameter in parameters(CONFIG, head).values():
            name, transform = form.from_canonical(parameter, head)
            assert form.to_canonical(name) == (parameter.name, transform)


ONE, SHARDS = ["model.safetensors"], ["model-00001-of-00001.safetensors", "model.safetensors.index.json"]
PICKLE, OPENAI = ["pytorch_model.bin"], ["params_0.npy", "params_shapes.json"]
SAVES = {  # the files of a repository -> those that are loaded, without pickles and with them
    "one file": (["config.json", *ONE, "tf_model.h5"], ONE, ONE),
    "shards": (["config.json", *SHARDS], SHARDS, SHARDS),
    "a file and remains of shards": ([*SHARDS, *ONE], ONE, ONE),
    "shards without an index": (SHARDS[:1], [], []),
    "a pickle": (PICKLE, None, PICKLE),
    "a pickle and OpenAI's": ([*OPENAI, *PICKLE], OPENAI, PICKLE),
    "OpenAI's and another array": ([*OPENAI, "x.npy"], OPENAI, OPENAI),
    "none": (["config.json"], [], []),
}


@pytest.mark.parametrize("kind", SAVES)
def test_the_files_of_one_save_are_chosen(kind):
    names, plain, with_pickles = SAVES[kind]
    assert weights_files(names, allow_pickle=True) == with_pickles
    if plain is None:
        with pytest.raises(CheckpointError, match=r"the only weights are pytorch_model\.bin, a pickle"):
            weights_files(names, allow_pickle=False)
    else:
        assert weights_files(names, allow_pickle=False) == plain
