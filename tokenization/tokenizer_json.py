"""``tokenizer.json``, the one-file form of the ``tokenizers`` library: its contents, read and created."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from gptcore.errors import TokenizerError
from gptcore.spec.tasks import TASK_TOKENS, TASKS
from tokenization.vocabulary import END_OF_WORD, Vocabulary, check_ids, checked_merges, read_json

TOKENIZER_FILE = "tokenizer.json"

# The values in the file of an OpenAI GPT; with any other value, the tokenizer gives other ids.
_MODEL: dict[str, tuple[Any, ...]] = {
    "type": ("BPE", None),
    "dropout": (None, 0.0),
    "continuing_subword_prefix": (None, ""),
    "end_of_word_suffix": (END_OF_WORD,),
    "fuse_unk": (False, None),
    "byte_fallback": (False, None),
    "ignore_merges": (False, None),
}
_NORMALIZER: dict[str, tuple[Any, ...]] = {
    "type": ("BertNormalizer",),
    "clean_text": (True,),
    "handle_chinese_chars": (True,),
    "strip_accents": (None, True),
    "lowercase": (True,),
}


_PARTS: dict[str, dict[str, tuple[Any, ...]]] = {
    "model": _MODEL,
    "normalizer": _NORMALIZER,
    "pre_tokenizer": {"type": ("BertPreTokenizer",)},
    "post_processor": {"type": (None, "TemplateProcessing")},
}


class TokenizerJson(NamedTuple):
    """The contents of a ``tokenizer.json``.

    Attributes:
        vocabulary: The pieces and merges.
        added: The added tokens by id.
        template: Whether the file adds the tokens of a task to a text.
    """

    vocabulary: Vocabulary
    added: dict[int, AddedToken]
    template: bool


def read_tokenizer_json(file: str | Path) -> TokenizerJson:
    """Read a ``tokenizer.json``.

    Raises:
        TokenizerError: The file cannot be read, is not an OpenAI GPT tokenizer, or has an invalid vocabulary.
    """
    content = read_json(file)
    if not isinstance(content, dict) or not isinstance(content.get("model"), dict):
        raise TokenizerError(f"{file}, line 1: not a tokenizer.json: 'model' is missing.")
    for part, allowed in _PARTS.items():
        _check(file, part, content.get(part), allowed)
    encoder, merges = content["model"].get("vocab"), content["model"].get("merges")
    if not isinstance(encoder, dict) or not all(type(i) is int for i in encoder.values()):
        raise TokenizerError(f"{file}: model.vocab must map pieces to integer ids.")
    if not isinstance(merges, list):
        raise TokenizerError(f"{file}: model.merges must be a list; got {type(merges).__name__}.")

    def fail_piece(piece: str, problem: str) -> NoReturn:
        raise TokenizerError(f"{file}: model.vocab: {problem}")

    def fail_merge(i: int, problem: str) -> NoReturn:
        raise TokenizerError(f"{file}: model.merges[{i}]: {problem}")

    check_ids(encoder, fail_piece)
    pairs = (merge.split(" ") if isinstance(merge, str) else _texts(merge) for merge in merges)
    vocabulary = Vocabulary(encoder, tuple(checked_merges(encoder, pairs, fail_merge)))
    tokens = content.get("added_tokens") or []
    if not isinstance(tokens, list) or not all(
        isinstance(token, dict) and type(token.get("id")) is int for token in tokens
    ):
        raise TokenizerError(f"{file}: added_tokens must be a list of objects with an integer 'id'.")
    added = added_tokens(file, {token["id"]: token for token in tokens})
    return TokenizerJson(vocabulary, added, content.get("post_processor") is not None)


def check_task(file: str | Path, template: bool, options: Mapping[str, Any]) -> None:
    """Raise a ``TokenizerError`` if a ``tokenizer.json`` adds the tokens of an unknown task to a text."""
    if template and "task" not in options:
        raise TokenizerError(
            f"cannot load {file}: its post_processor adds the tokens of a task, but the task is unknown. "
            f"Load the folder with its tokenizer_config.json, or pass task: {', '.join(TASKS)}, or None for no tokens."
        )


def _texts(merge: Any) -> list[str]:
    """The pieces of a merge that is a list; empty for anything else."""
    return [str(piece) for piece in merge] if isinstance(merge, list) else []


def added_tokens(file: str | Path, tokens: Any) -> dict[int, AddedToken]:
    """Convert added tokens from JSON: id -> an object with the token's text and flags.

    Raises:
        TokenizerError: An entry is not an added token.
    """
    if not isinstance(tokens, dict):
        raise TokenizerError(f"{file}: added tokens must be an object that maps ids to tokens; got {tokens!r}.")
    result = {}
    for key, entry in tokens.items():
        try:
            result[int(key)] = added_token(entry)
        except (TypeError, ValueError, KeyError, OverflowError) as cause:
            raise TokenizerError(f"{file}: not an added token: {entry!r} with the id {key!r}.") from cause
    return result


def added_token(entry: Any) -> AddedToken:
    """Convert one added token from JSON: a text, or an object with ``content`` and flags."""
    if isinstance(entry, str):
        return AddedToken(entry, normalized=False, special=True)
    flags = {name: bool(entry[name]) for name in ("single_word", "lstrip", "rstrip", "normalized") if name in entry}
    if not isinstance(entry["content"], str):
        raise TypeError("content")
    return AddedToken(entry["content"], special=bool(entry.get("special", False)), **flags)


def _check(file: str | Path, part: str, content: Any, allowed: Mapping[str, tuple[Any, ...]]) -> None:
    settings = content if isinstance(content, dict) else {"type": content}
    for name, values in allowed.items():
        if settings.get(name) not in values:
            raise TokenizerError(
                f"{file}: {part}.{name} must be {values[0]!r} in an OpenAI GPT tokenizer; got {settings.get(name)!r}. "
                "This is another kind of tokenizer."
            )


def library_tokenizer(model: models.BPE, added: Mapping[int, AddedToken], marks: list[int] | None) -> Tokenizer:
    """The basic path as an object of the ``tokenizers`` library.

    Args:
        model: The byte-pair encoding.
        added: The added tokens by id.
        marks: The ids of the tokens that a task adds to a text or a pair, or ``None``.
    """
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.BPEDecoder(suffix=END_OF_WORD)
    for _, token in sorted(added.items()):
        (tokenizer.add_special_tokens if token.special else tokenizer.add_tokens)([token])
    if marks is not None:
        start, delimiter, extract = TASK_TOKENS
        tokenizer.post_processor = processors.TemplateProcessing(
            single=[start, "$A", extract],
            pair=[start, "$A", delimiter, "$B:1", f"{extract}:1"],
            special_tokens=list(zip(TASK_TOKENS, marks, strict=True)),
        )
    return tokenizer
