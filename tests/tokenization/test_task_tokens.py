"""The tokenizer of a fine-tuned model puts the tokens of its task around a text, wherever it is loaded."""

import copy
import json
import pickle

import pytest
from tokenizers import Tokenizer
from training_data import config, tokenizer

from gptcore import DEFAULT_MODEL
from gptcore.errors import InputError
from gptcore.spec.tasks import TASK_TOKENS, TASKS, add_task_tokens
from gptcore.training.examples import TaskExamples
from tokenization import OpenAIGPTTokenizer, OpenAIGPTTokenizerFast, TokenizerError

LONG = "the work or the license of the work " * 9
TEXTS = {
    "classify": [("the work",), ("",), (LONG,)],
    "entail": [("the work", "a license"), ("", ""), ("the work", LONG), (LONG, "the work"), (LONG, LONG)],
}
LENGTH = config().n_positions
CUT = {"truncation": True}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Task, or "lm" -> the folder of its tokenizer."""
    folders = {task: tmp_path_factory.mktemp(task) for task in ("lm", *TASKS)}
    for task, folder in folders.items():
        words = copy.deepcopy(tokenizer())
        add_task_tokens(words, None if task == "lm" else task)
        words.model_max_length = LENGTH
        words.save_pretrained(folder)
    return folders


def saved_by_the_plain_class(folder, path):
    OpenAIGPTTokenizer.from_pretrained(folder).save_pretrained(path)
    return OpenAIGPTTokenizer.from_pretrained(path)


LOADED = {
    "plain": lambda folder, path: OpenAIGPTTokenizer.from_pretrained(folder),
    "fast": lambda folder, path: OpenAIGPTTokenizerFast.from_pretrained(folder),
    "saved by the plain class": saved_by_the_plain_class,
    "pickle": lambda folder, path: pickle.loads(pickle.dumps(OpenAIGPTTokenizerFast.from_pretrained(folder))),
}


def sequences(task, rows):
    """What training and the pipelines make of the texts."""
    words = copy.deepcopy(tokenizer())
    add_task_tokens(words)
    rows = [dict(zip(TASKS[task].columns, texts, strict=True)) for texts in rows]
    return [example["sequences"][0] for example in TaskExamples(task, rows, words, config(), labelled=False)]


@pytest.mark.parametrize("task", TEXTS)
@pytest.mark.parametrize("way", LOADED)
def test_a_call_is_the_encoding_of_the_task(folders, tmp_path, way, task):
    words, expected = LOADED[way](folders[task], tmp_path), sequences(task, TEXTS[task])
    assert words.task == task
    assert [words(*texts, **CUT).input_ids for texts in TEXTS[task]] == expected
    assert words(*map(list, zip(*TEXTS[task], strict=True)), **CUT).input_ids == expected
    assert words.encode(*TEXTS[task][0]) == expected[0]
    assert words.convert_tokens_to_ids(words.tokenize(*TEXTS[task][0], add_special_tokens=True)) == expected[0]
    words.pad_token = words.unk_token
    padded = words(*TEXTS[task][0], padding="max_length", return_offsets_mapping=True, return_special_tokens_mask=True)
    assert padded.input_ids == expected[0] + [0] * (LENGTH - len(expected[0]))
    ids = [token_id for text in TEXTS[task][0] for token_id in words(text, add_special_tokens=False).input_ids]
    added = len(expected[0]) - len(ids)
    assert words.num_special_tokens_to_add(task == "entail") == added
    assert padded.special_tokens_mask.count(0) == len(ids)
    assert sum(end > start for start, end in padded.offset_mapping) == len(ids)


@pytest.mark.parametrize("task", TEXTS)
def test_the_library_gives_the_same_ids(folders, task):
    library = Tokenizer.from_file(str(folders[task] / "tokenizer.json"))
    words = OpenAIGPTTokenizerFast.from_pretrained(folders[task])
    asked = {"return_token_type_ids": True, "return_special_tokens_mask": True, "return_offsets_mapping": True}
    for strategy in ("longest_first", "only_first"):
        library.enable_truncation(LENGTH, strategy=strategy)
        for texts in TEXTS[task][: 3 if strategy == "longest_first" else 2]:
            theirs, ours = library.encode(*texts), words(*texts, truncation=strategy, **asked)
            assert ours.input_ids == theirs.ids
            assert ours.token_type_ids == theirs.type_ids
            assert ours.special_tokens_mask == theirs.special_tokens_mask
            assert ours.offset_mapping == theirs.offsets


def test_without_a_task_nothing_is_added(folders):
    words = OpenAIGPTTokenizerFast.from_pretrained(folders["lm"])
    assert words.task is None
    assert words("the work") == words("the work", add_special_tokens=False)
    assert "task" not in json.loads((folders["lm"] / "tokenizer_config.json").read_text())
    assert json.loads((folders["lm"] / "tokenizer.json").read_text())["post_processor"] is None


def test_what_is_cut_off_has_the_tokens_too(folders):
    words = OpenAIGPTTokenizerFast.from_pretrained(folders["classify"])
    text = words(LONG, add_special_tokens=False, verbose=False).input_ids
    rows = words(LONG, **CUT, return_overflowing_tokens=True).input_ids
    start, _, extract = words.convert_tokens_to_ids(list(TASK_TOKENS))
    assert {(row[0], row[-1], len(row) <= LENGTH) for row in rows} == {(start, extract, True)}
    assert [token_id for row in rows for token_id in row[1:-1]] == text
    split = words([["the", "work"]], is_split_into_words=True)
    assert split.word_ids() == [None, 0, 1, None]


REFUSED = {
    "a pair": ("classify", ("a", "b"), {}, "an input of classify must be one text; got a pair"),
    "a single text": ("entail", ("a",), {}, r"must be a pair \(premise, hypothesis\); got one text"),
    "two texts for a pair": ("entail", (["a", "b"],), {}, "must be a pair"),
    "two orders": ("similarity", ("a", "b"), {}, "cannot encode an input of similarity as one row.*gptcore.pipeline"),
    "choices": ("choice", (["a", "a"], ["b", "c"]), {}, "cannot encode an input of choice as one row"),
    "no room": ("classify", ("a b c",), {**CUT, "max_length": 2}, "must leave room .* of classify; got 2"),
    "no room for a pair": ("entail", ("a", "b"), {**CUT, "max_length": 5}, "must leave room .* of entail; got 5"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_one_row_cannot_hold_is_an_error(folders, case):
    task, texts, options, message = REFUSED[case]
    words = OpenAIGPTTokenizerFast.from_pretrained(folders[task])
    with pytest.raises(InputError, match=message):
        words(*texts, **options)
    assert words(*texts, add_special_tokens=False)


def test_a_task_that_nothing_can_be_made_of(folders):
    file = folders["classify"] / "tokenizer.json"
    with pytest.raises(TokenizerError, match=r"its post_processor adds the tokens of a task.*pass task: classify"):
        OpenAIGPTTokenizerFast(tokenizer_file=file)
    words = OpenAIGPTTokenizerFast(tokenizer_file=file, task="classify", pre_tokenizer="basic")
    assert words("the work").input_ids == sequences("classify", [("the work",)])[0]
    words.task = None
    assert words("the work") == words("the work", add_special_tokens=False)
    with pytest.raises(TokenizerError, match=r"task must be one of 'classify', .*; got 'clasify'"):
        words.task = "clasify"
    with pytest.raises(TokenizerError, match=r"cannot set task to 'choice': the tokenizer lacks _start_, .*add_task"):
        OpenAIGPTTokenizerFast.from_pretrained(DEFAULT_MODEL).task = "choice"
