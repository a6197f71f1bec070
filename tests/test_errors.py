"""An error's type says where the trouble is: a setting, a call, data, a tokenizer, a checkpoint or the storage."""

from pathlib import Path

import numpy as np
import pytest

from gptcore import DEFAULT_MODEL, OpenAIGPTConfig, errors, pipeline
from gptcore.backends import device_named, load_backend
from gptcore.checkpoint import open_checkpoint, open_pretrained
from gptcore.cli.predict import predict_command
from gptcore.cli.settings import parse_settings, require_empty
from gptcore.convert import convert_checkpoint
from gptcore.generation import GenerationConfig
from gptcore.spec import Head, Reference
from gptcore.storage import read_table
from gptcore.training import Recipe, tokenize_corpus
from tokenization import OpenAIGPTTokenizerFast

ROOT = Path(__file__).parents[1]
LICENSE = ROOT / "LICENSE"
CASE = ROOT / "conformance_tests" / "cases" / "lm_gelu"


def converted(folder, form="safetensors", **options):
    return convert_checkpoint(open_checkpoint(CASE), folder / "new", form, **options)


def tokenizer():
    return OpenAIGPTTokenizerFast.from_pretrained(DEFAULT_MODEL)


TROUBLE = {
    "ConfigError": {
        "the dtype of weights": lambda folder: open_pretrained(CASE, Head.LM, "float33"),
        "the dtype of a conversion": lambda folder: converted(folder, dtype="float33"),
        "a dtype that the format lacks": lambda folder: converted(folder, "tf", dtype="bfloat16"),
        "the format": lambda folder: converted(folder, "onnx"),
        "a size": lambda folder: converted(folder, max_shard_size="5 apples"),
        "a setting of the model": lambda folder: OpenAIGPTConfig(n_layr=2),
        "a setting of training": lambda folder: Recipe(learning_rate="fast"),
        "a setting of generation": lambda folder: GenerationConfig(temperature=-1),
        "the task of a pipeline": lambda folder: pipeline("text-generatoin"),
        "an option of a command": lambda folder: parse_settings(["seed"], "--set"),
        "an argument of a command": lambda folder: predict_command(None, "clasify", DEFAULT_MODEL),
        "a device": lambda folder: device_named("gpu", ["CPU:0"]),
        "a backend": lambda folder: load_backend("mxnet"),
        "a location that is no text": lambda folder: OpenAIGPTTokenizerFast.from_pretrained(3),
    },
    "InputError": {
        "ids of a model": lambda folder: Reference(*reference()).forward({"input_ids": np.array([[10**6]])}),
        "text of a tokenizer": lambda folder: tokenizer()(3),
    },
    "DataError": {
        "a missing corpus": lambda folder: tokenize_corpus(folder / "none", tokenizer(), folder / "ids"),
        "a missing table": lambda folder: read_table(folder / "none.csv", ("text",)),
    },
    "TokenizerError": {
        "a folder without one": lambda folder: OpenAIGPTTokenizerFast.from_pretrained(folder),
    },
    "CheckpointError": {
        "a folder without weights": lambda folder: open_pretrained(folder, Head.LM),
    },
    "StorageError": {
        "a folder that is not there": lambda folder: open_pretrained(folder / "none", Head.LM),
        "a tokenizer that is not there": lambda folder: OpenAIGPTTokenizerFast.from_pretrained(folder / "none"),
        "a file in the place of the folder of a config": lambda folder: OpenAIGPTConfig().save_pretrained(put(folder)),
        "the same, of settings": lambda folder: GenerationConfig().save_pretrained(put(folder) / "model"),
        "the same, of a tokenizer": lambda folder: tokenizer().save_pretrained(put(folder)),
        "the same, of ids": lambda folder: tokenize_corpus(LICENSE, tokenizer(), put(folder)),
        "a folder that holds files": lambda folder: require_empty(put(folder).parent, force=False),
    },
}


def reference():
    source = open_pretrained(CASE, Head.LM)
    return source.config, {name: array.astype(np.float64) for name, array in source.values()}, Head.LM


def put(folder):
    (folder / "file").write_text("")
    return folder / "file"


@pytest.mark.parametrize(("kind", "trouble"), [(kind, name) for kind, calls in TROUBLE.items() for name in calls])
def test_the_type_says_where_the_trouble_is(tmp_path, kind, trouble):
    with pytest.raises(errors.GPTError) as caught:
        TROUBLE[kind][trouble](tmp_path)
    assert type(caught.value).__name__ == kind


def test_every_kind_is_a_value_error_of_its_own():
    kinds = [getattr(errors, name) for name in errors.__all__ if name != "GPTError"]
    assert all(kind.__bases__ == (errors.GPTError,) for kind in kinds)
    assert issubclass(errors.GPTError, ValueError)
