"""Text in place of ids: ``generate``, ``fit``, ``evaluate`` and ``predict`` of Keras models."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from training_data import ROWS, save_fine_tuned

from gpt_tf import TFOpenAIGPTDoubleHeadsModel, TFOpenAIGPTForSequenceClassification, TFOpenAIGPTLMHeadModel
from gptcore import InputError, pipeline
from gptcore.generation import TextStreamer

CLASSES = {
    "lm": TFOpenAIGPTLMHeadModel,
    "classify": TFOpenAIGPTForSequenceClassification,
    "entail": TFOpenAIGPTForSequenceClassification,
    "similarity": TFOpenAIGPTForSequenceClassification,
    "choice": TFOpenAIGPTDoubleHeadsModel,
}
LONG = "the work or the license of the work " * 9
NEW = {"max_new_tokens": 3}


@pytest.fixture
def eager():
    """Nothing is compiled: it would take most of the time."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {task: save_fine_tuned(tmp_path_factory.mktemp(task), task) for task in CLASSES}


@pytest.fixture
def load(folders):
    """A function (task) -> a model that was just loaded."""

    def load(task):
        model = CLASSES[task].from_pretrained(folders[task])
        model.run_eagerly = True
        return model

    return load


def test_text_goes_on_as_text(folders, load, eager):
    model, write = load("lm"), pipeline("text-generation", str(folders["lm"]), backend="tf")
    prompts = ["The work", "a license of the work"]
    (expected,) = write(prompts[0], **NEW)
    assert model.generate(prompts[0], **NEW) == expected["generated_text"]
    drawn = {**NEW, "do_sample": True, "seed": 3, "num_return_sequences": 2}
    several = [answer["generated_text"] for answers in write(prompts, **drawn) for answer in answers]
    assert model.generate(prompts, **drawn) == model.generate(np.array(prompts), **drawn) == several
    assert model.generate(prompts[0], **drawn) == several[:2]
    pieces = []
    model.generate(prompts[0], streamer=TextStreamer(model.tokenizer, pieces.append, readable=True), **NEW)
    assert expected["generated_text"].endswith("".join(pieces).strip())


INPUTS = {
    "classify": ["a film", "", LONG],
    "entail": (["all cats", LONG, "a"], ["some", "a", LONG]),
}


@pytest.mark.parametrize("task", INPUTS)
def test_predictions_of_text_are_those_of_the_pipeline(folders, load, task):
    name = {"classify": "text-classification", "entail": "entailment"}[task]
    model, texts = load(task), INPUTS[task]
    rows = texts if task == "classify" else list(zip(*texts, strict=True))
    answers = pipeline(name, str(folders[task]), backend="tf")(rows, top_k=None)
    logits = model.predict(texts, verbose=0).logits
    probabilities = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    for row, answer in zip(probabilities, answers, strict=True):
        found = {model.config.id2label[i]: score for i, score in enumerate(row)}
        assert found == pytest.approx({each["label"]: each["score"] for each in answer}, rel=1e-5)


def test_text_is_learned_and_measured(load):
    model = load("classify")
    texts = [row["text"] for row in ROWS["classify"]]
    labels = [model.config.label2id[row["label"]] for row in ROWS["classify"]]
    model.compile("sgd", metrics=["accuracy"], run_eagerly=True)
    encoded = model.tokenizer(texts, truncation=True, max_length=31)
    inputs = {name: keras.utils.pad_sequences(rows, padding="post") for name, rows in encoded.items()}
    expected = model.evaluate(inputs, np.array(labels), verbose=0)
    assert model.evaluate(texts, labels, sample_weight=[1.0] * 12, verbose=0) == pytest.approx(expected, rel=1e-5)
    for same in (np.array(texts, object), tf.constant(texts)):
        assert model.evaluate(same, np.array(labels), verbose=0) == pytest.approx(expected, rel=1e-5)
    assert model.test_on_batch(texts, labels) == pytest.approx(expected, rel=1e-5)
    history = model.fit(texts, labels, validation_data=(texts, labels), epochs=2, shuffle=False, verbose=0).history
    assert history["val_loss"][0] == pytest.approx(model.evaluate(texts, labels, verbose=0)[0], rel=0.2)
    assert history["loss"][1] < history["loss"][0] == pytest.approx(expected[0], rel=1e-5)


def test_a_language_model_learns_from_text(load):
    model, texts = load("lm"), ["a film", "the cat sat on the mat"]
    model.compile("sgd", run_eagerly=True)
    rows = [model.tokenizer(text).input_ids for text in texts]
    losses = [float(model(np.array([row]), labels=np.array([row])).loss) for row in rows]
    expected = np.average(losses, weights=[len(row) - 1 for row in rows])
    assert model.evaluate(texts, verbose=0) == pytest.approx(expected, rel=1e-5)
    with pytest.raises(InputError, match="tokenizer must be a tokenizer; got str"):
        model.tokenizer = "words"


def test_the_tokenizer_of_a_model(folders, load, tmp_path, monkeypatch):
    model = load("classify")
    model.save(tmp_path / "model.keras")  # reads no tokenizer
    assert model._tokenizer is None
    expected = model.predict(["a film"], verbose=0).logits
    monkeypatch.chdir(folders["classify"])
    relative = CLASSES["classify"].from_pretrained(".")
    monkeypatch.chdir(tmp_path)
    assert relative.tokenizer.task == "classify"
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    loaded.run_eagerly = True
    with pytest.raises(
        InputError, match=r"a model not loaded by from_pretrained has no tokenizer. Set model.tokenizer = "
    ):
        loaded.predict(["a film"])
    loaded.tokenizer = model.tokenizer
    np.testing.assert_array_equal(loaded.predict(["a film"], verbose=0).logits, expected)
    loaded.save_pretrained(tmp_path / "weights alone")
    bare = CLASSES["classify"].from_pretrained(tmp_path / "weights alone")
    with pytest.raises(InputError, match=r"cannot read text: .*cannot load a tokenizer .* Set model.tokenizer = "):
        bare.predict(["a film"])


REFUSED = {
    "strings in a dataset": (
        "classify",
        lambda model: model.predict(tf.data.Dataset.from_tensors(["a", "b"])),
        "input_ids must be numbers; got text",
    ),
    "two orders": ("similarity", lambda model: model.predict((["a"], ["b"])), "as one row.*gptcore.pipeline"),
    "choices": ("choice", lambda model: model.predict((["a", "a"], ["b", "c"])), "as one row.*gptcore.pipeline"),
    "pairs by the row": ("entail", lambda model: model.predict([("a", "b"), ("c", "d")]), "must be two lists"),
    "no pair": ("entail", lambda model: model.predict(["a", "b"]), "must be a pair"),
    "texts beside no text": ("entail", lambda model: model.fit((["a"], ["b", "c"]), [1]), "must have the same length"),
    "nothing": ("lm", lambda model: model.predict(["a", " "]), r"texts\[1\] must have at least one token"),
    "a graph": (
        "lm",
        lambda model: tf.function(model.generate, autograph=False)("a"),
        "must be ids inside",
    ),
    "a mask": ("lm", lambda model: model.generate("a", [[1]]), "attention_mask must be None for text"),
    "a dict": ("lm", lambda model: model.generate("a", return_dict_in_generate=True), "must be False in a pipeline"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_text_cannot_do_is_an_error(load, case):
    task, call, message = REFUSED[case]
    with pytest.raises(InputError, match=message):
        call(load(task))
