"""Load tokenizers of transformers and OpenAI from folders, and save them in the format of transformers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypedDict

from tokenizers import AddedToken, Tokenizer

from gptcore.errors import TokenizerError
from gptcore.storage import hub
from gptcore.storage.atomic import atomic_write
from tokenization.tokenizer_json import (
    TOKENIZER_FILE,
    TokenizerJson,
    added_token,
    added_tokens,
    check_task,
    read_tokenizer_json,
)
from tokenization.tokens import ADDITIONAL, NAMED, AnyToken
from tokenization.vocabulary import Vocabulary, read_json, read_vocabulary

CONFIG_FILE = "tokenizer_config.json"
SPECIAL_TOKENS_FILE = "special_tokens_map.json"
ADDED_TOKENS_FILE = "added_tokens.json"
VOCABULARY_FILES = (("vocab.json", "merges.txt"), ("encoder_bpe_40000.json", "vocab_40000.bpe"))
"""The names of transformers, which are also ours, then the names of OpenAI."""

FILES = (
    *(name for pair in VOCABULARY_FILES for name in pair),
    CONFIG_FILE,
    SPECIAL_TOKENS_FILE,
    ADDED_TOKENS_FILE,
    TOKENIZER_FILE,
)
RULES_KEY = "pre_tokenizer_rules"
_NOT_OURS = ("tokenizer_class", "name_or_path", "auto_map", "special_tokens_map_file", "tokenizer_file")
_ARGUMENTS = ("cls", "self", "vocabulary")  # of the methods that take the settings of a folder as keywords


class TokenizerSettings(TypedDict, total=False):
    """The keywords that override the settings of a folder, with their types for editors."""

    pre_tokenizer: str
    unk_token: AnyToken
    model_max_length: int | float | None
    padding_side: str
    truncation_side: str
    clean_up_tokenization_spaces: bool
    split_special_tokens: bool
    rules: str | None
    task: str | None
    bos_token: AnyToken | None
    eos_token: AnyToken | None
    sep_token: AnyToken | None
    pad_token: AnyToken | None
    cls_token: AnyToken | None
    mask_token: AnyToken | None
    additional_special_tokens: Sequence[AnyToken] | None


class TokenizerOptions(hub.Location, TokenizerSettings, total=False):
    """The keywords of ``from_pretrained`` of a tokenizer."""


class Saved(Protocol):
    """The attributes of a tokenizer that a folder records."""

    is_fast: ClassVar[bool]
    init_kwargs: dict[str, Any]
    clean_up_tokenization_spaces: bool
    model_max_length: int
    padding_side: str
    split_special_tokens: bool
    truncation_side: str

    @property
    def added_tokens_decoder(self) -> dict[int, AddedToken]: ...

    @property
    def pre_tokenizer(self) -> str: ...

    @property
    def rules(self) -> str: ...

    @property
    def special_tokens_map(self) -> dict[str, str | list[str]]: ...

    @property
    def task(self) -> str | None: ...

    @property
    def vocab_size(self) -> int: ...


def load(source: str | Path, options: Mapping[str, Any]) -> tuple[Vocabulary, dict[str, Any]]:
    """Load the vocabulary and the settings of a tokenizer from a folder or a repository on the hub.

    Args:
        source: The folder, or ``owner/name``.
        options: The keywords of ``TokenizerOptions``; those of the tokenizer override the settings of the folder.

    Returns:
        The vocabulary, and the settings of the tokenizer.

    Raises:
        TokenizerError: A file is missing or invalid.
        StorageError: There is no such folder, and it cannot be downloaded from the hub.
    """
    location, settings = hub.split_options(options)
    folder = hub.resolve(source, hub.named(*FILES), **location)
    vocabulary, from_file, template = _vocabulary(folder)
    recorded = _recorded(folder, from_file)
    check_task(folder / TOKENIZER_FILE, template, {**recorded, **settings})
    if settings.get("pre_tokenizer", recorded.get("pre_tokenizer")) == recorded.get("pre_tokenizer"):
        settings.setdefault("rules", recorded.get(RULES_KEY))
    recorded.pop(RULES_KEY, None)
    return vocabulary, {**recorded, **settings}


def save_settings(tokenizer: Saved, folder: Path, backend: Tokenizer | None, prefix: str | None) -> list[str]:
    """Save everything but the vocabulary.

    Args:
        tokenizer: The tokenizer.
        folder: An existing folder.
        backend: The content of ``tokenizer.json``; ``None`` for no such file.
        prefix: Prefix of the names, followed by a hyphen, or ``None``.

    Returns:
        The paths of the files.

    Raises:
        StorageError: A file cannot be written; that file is unchanged.
    """
    beyond = {
        token.content: token_id
        for token_id, token in tokenizer.added_tokens_decoder.items()
        if token_id >= tokenizer.vocab_size
    }
    contents: dict[str, str] = {}
    if beyond:
        contents[ADDED_TOKENS_FILE] = _json(beyond)
    if backend is not None:
        contents[TOKENIZER_FILE] = backend.to_str(pretty=True)
    contents[SPECIAL_TOKENS_FILE] = _json(tokenizer.special_tokens_map)
    contents[CONFIG_FILE] = _json(_config(tokenizer))
    return [_write(folder, name, (text + "\n").encode(), prefix) for name, text in contents.items()]


def save_vocabulary(save_directory: str | Path, files: tuple[bytes, bytes], prefix: str | None) -> tuple[str, str]:
    """Write ``vocab.json`` and ``merges.txt``; returns their paths.

    Raises:
        TokenizerError: The folder does not exist.
        StorageError: A file cannot be written; that file is unchanged.
    """
    folder = Path(save_directory)
    if not folder.is_dir():
        raise TokenizerError(f"{save_directory} must be an existing folder. Create it, or use save_pretrained.")
    vocab, merges = (_write(folder, name, data, prefix) for name, data in zip(VOCABULARY_FILES[0], files, strict=True))
    return vocab, merges


def _json(content: object) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False)


def _write(folder: Path, name: str, data: bytes, prefix: str | None) -> str:
    path = folder / (f"{prefix}-{name}" if prefix else name)
    with atomic_write(path) as file:
        file.write(data)
    return str(path)


def _vocabulary(folder: Path) -> TokenizerJson:
    """Load the vocabulary of a folder, and the other contents of ``tokenizer.json``."""
    has_json = (folder / TOKENIZER_FILE).is_file()
    for vocab_file, merges_file in VOCABULARY_FILES:
        if (folder / vocab_file).is_file() and (folder / merges_file).is_file():
            vocabulary = read_vocabulary(folder / vocab_file, folder / merges_file)
            if not has_json:
                return TokenizerJson(vocabulary, {}, template=False)
            return read_tokenizer_json(folder / TOKENIZER_FILE)._replace(vocabulary=vocabulary)
    if has_json:
        return read_tokenizer_json(folder / TOKENIZER_FILE)
    required = ", or ".join(" and ".join(pair) for pair in VOCABULARY_FILES)
    raise TokenizerError(f"cannot load a tokenizer from {folder}: it needs {required}, or {TOKENIZER_FILE}.")


def _object(file: Path) -> dict[str, Any]:
    """Load a JSON object; empty if the file does not exist."""
    content = read_json(file) if file.is_file() else {}
    if not isinstance(content, dict):
        raise TokenizerError(f"{file}, line 1: must be a JSON object; got {type(content).__name__}.")
    return content


def _recorded(folder: Path, from_file: dict[int, AddedToken]) -> dict[str, Any]:
    """The tokenizer arguments that the files of a folder set."""
    config_file = folder / CONFIG_FILE
    config = _object(config_file)
    named = {name: token for name, token in _object(folder / SPECIAL_TOKENS_FILE).items() if name not in config}
    options = {**config, **named}
    for name in (*NAMED, ADDITIONAL):
        value = options.get(name)
        try:
            if isinstance(value, list) and name == ADDITIONAL:
                options[name] = [added_token(token) for token in value]
            elif value is not None:
                options[name] = added_token(value)
            else:
                options.pop(name, None)
        except (TypeError, KeyError, ValueError) as cause:
            file = config_file if name in config else folder / SPECIAL_TOKENS_FILE
            allowed = "a list of tokens" if name == ADDITIONAL else "a token"
            raise TokenizerError(f"{file}: {name} must be {allowed}; got {value!r}.") from cause
    if "added_tokens_decoder" in config:
        options["added_tokens_decoder"] = added_tokens(config_file, config["added_tokens_decoder"])
    elif from_file:
        options["added_tokens_decoder"] = from_file
    else:
        added_file = folder / ADDED_TOKENS_FILE
        special = {token.content for name in NAMED if (token := options.get(name))}
        special |= {token.content for token in options.get(ADDITIONAL, [])}
        added = _object(added_file)
        if not all(type(i) is int for i in added.values()):
            raise TokenizerError(f"{added_file}: must map tokens to integer ids.")
        entries = {
            i: {"content": token, "special": token in special, "normalized": token not in special}
            for token, i in added.items()
        }
        options["added_tokens_decoder"] = added_tokens(added_file, entries)
    return {name: value for name, value in options.items() if name not in (*_NOT_OURS, *_ARGUMENTS)}


def _config(tokenizer: Saved) -> dict[str, Any]:
    """The content of ``tokenizer_config.json``, under the names of transformers."""
    flags = ("content", "lstrip", "normalized", "rstrip", "single_word", "special")
    return {
        **dict(sorted(tokenizer.init_kwargs.items())),
        "added_tokens_decoder": {
            str(i): {flag: getattr(token, flag) for flag in flags}
            for i, token in tokenizer.added_tokens_decoder.items()
        },
        **tokenizer.special_tokens_map,
        "clean_up_tokenization_spaces": tokenizer.clean_up_tokenization_spaces,
        "model_max_length": tokenizer.model_max_length,
        "padding_side": tokenizer.padding_side,
        "pre_tokenizer": tokenizer.pre_tokenizer,
        RULES_KEY: tokenizer.rules,
        "split_special_tokens": tokenizer.split_special_tokens,
        **({} if tokenizer.task is None else {"task": tokenizer.task}),
        "tokenizer_class": "OpenAIGPTTokenizer",
        "truncation_side": tokenizer.truncation_side,
    }
