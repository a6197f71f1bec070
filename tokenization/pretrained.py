"""Load tokenizers of transformers and OpenAI from folders, and save them in the format of transformers."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self, TypedDict, Unpack

from tokenizers import AddedToken

from gptcore.errors import TokenizerError
from gptcore.settings import passes_on
from gptcore.storage import hub
from gptcore.storage.atomic import atomic_write, make_folder
from tokenization.added import ADDITIONAL, NAMED, AnyToken
from tokenization.tokenizer_json import (
    TOKENIZER_FILE,
    TokenizerJson,
    added_token,
    added_tokens,
    check_task,
    read_tokenizer_json,
)
from tokenization.vocabulary import Vocabulary, read_json, read_vocabulary

CONFIG_FILE = "tokenizer_config.json"
SPECIAL_TOKENS_FILE = "special_tokens_map.json"
ADDED_TOKENS_FILE = "added_tokens.json"
VOCABULARY_FILES = (("vocab.json", "merges.txt"), ("encoder_bpe_40000.json", "vocab_40000.bpe"))
"""Ours and transformers' names, then OpenAI's."""

FILES = (
    *(name for pair in VOCABULARY_FILES for name in pair),
    CONFIG_FILE,
    SPECIAL_TOKENS_FILE,
    ADDED_TOKENS_FILE,
    TOKENIZER_FILE,
)
RULES_KEY = "pre_tokenizer_rules"
_NOT_OURS = ("tokenizer_class", "name_or_path", "auto_map", "special_tokens_map_file", "tokenizer_file")
_ARGUMENTS = ("cls", "self", "vocabulary")  # of the methods that take what a folder says as keywords


class TokenizerSettings(TypedDict, total=False):
    """What a folder says of a tokenizer, as keywords of a function that overrides it, for editors."""

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


class PretrainedMixin(ABC):
    """``from_pretrained`` and ``save_pretrained``."""

    name_or_path = ""

    @classmethod
    @passes_on(hub.resolve, TokenizerSettings)
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **options: Unpack[TokenizerOptions]) -> Self:
        """Load a tokenizer from a folder, or from a repository on the hub.

        Args:
            pretrained_model_name_or_path: A folder with ``vocab.json`` and ``merges.txt``, or with OpenAI's
                ``encoder_bpe_40000.json`` and ``vocab_40000.bpe``, or with ``tokenizer.json``; or ``owner/name``.
            options: ``revision``, ``cache_dir``, ``local_files_only`` and ``token`` for the hub, and arguments of the
                class, which override the settings of the folder.

        Raises:
            TokenizerError: a file is missing or invalid, or the saved text path is not available.
            StorageError: there is no such folder, and it cannot be downloaded from the hub.
        """
        location, settings = hub.split_options(options)
        folder = hub.resolve(pretrained_model_name_or_path, hub.named(*FILES), **location)
        vocabulary, from_file, template = _vocabulary(folder)
        recorded = _recorded(folder, from_file)
        check_task(folder / TOKENIZER_FILE, template, {**recorded, **settings})
        if settings.get("pre_tokenizer", recorded.get("pre_tokenizer")) == recorded.get("pre_tokenizer"):
            settings.setdefault("rules", recorded.get(RULES_KEY))
        recorded.pop(RULES_KEY, None)
        tokenizer = cls.from_vocabulary(vocabulary, **{**recorded, **settings})
        tokenizer.name_or_path = str(pretrained_model_name_or_path)
        return tokenizer

    @classmethod
    def from_vocabulary(cls, vocabulary: Vocabulary, **options: Any) -> Self:
        """Create a tokenizer from a vocabulary in memory; the other arguments are those of the class."""
        tokenizer: Any = cls.__new__(cls)
        tokenizer._start(vocabulary, **options)
        return tokenizer  # type: ignore[no-any-return]

    def save_pretrained(self, save_directory: str | Path, *, filename_prefix: str | None = None) -> tuple[str, ...]:
        """Save the tokenizer to a folder, which is created if missing; returns the names of the files.

        ``tokenizer_config.json`` holds the text path and its rules. ``tokenizer.json``, which the fast class writes,
        always holds the basic path, like the published file, because its format cannot express the original path. The
        ``task`` is saved in both files: in ``tokenizer.json``, as a template that adds its tokens.

        Raises:
            StorageError: a file cannot be written; it is unchanged.
        """
        tokenizer: Any = self
        folder = Path(save_directory)
        make_folder(folder)
        written = list(self.save_vocabulary(folder, filename_prefix))

        def write(name: str, content: Any) -> None:
            data = content if isinstance(content, str) else json.dumps(content, indent=2, ensure_ascii=False)
            written.append(str(_write(folder, name, (data + "\n").encode(), filename_prefix)))

        beyond = {token: i for token, i in tokenizer.added_tokens_encoder.items() if i >= tokenizer.vocab_size}
        if beyond:
            write(ADDED_TOKENS_FILE, beyond)
        if tokenizer.is_fast:
            write(TOKENIZER_FILE, tokenizer.backend_tokenizer.to_str(pretty=True))
        write(SPECIAL_TOKENS_FILE, tokenizer.special_tokens_map)
        write(CONFIG_FILE, _config(tokenizer))
        return tuple(written)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        token: str | bool | None = None,
        private: bool | None = None,
        commit_message: str | None = None,
        revision: str | None = None,
    ) -> str:
        """Save the tokenizer and upload it to a repository on the hub in one commit; other files are unchanged.

        Args:
            repo_id: ``owner/name``, or ``name`` for one of your own repositories; created if missing.
            token: Access token with write access. Default: the stored one.
            private: Whether a newly created repository is private. Default: the owner's default.
            commit_message: The commit message. Default: ``Upload tokenizer``.
            revision: A branch, created if missing. Default: the main branch.

        Returns:
            The URL of the commit.

        Raises:
            StorageError: the hub cannot be reached or refused the request; the repository is unchanged.
        """
        with hub.temporary_folder() as folder:
            return hub.push(
                {Path(name).name: Path(name) for name in self.save_pretrained(folder)},
                repo_id,
                commit_message=commit_message or "Upload tokenizer",
                token=token,
                private=private,
                revision=revision,
            )

    def save_vocabulary(self, save_directory: str | Path, filename_prefix: str | None = None) -> tuple[str, str]:
        """Write ``vocab.json`` and ``merges.txt``, byte for byte like the class of transformers with this name.

        Returns:
            The names of both files.

        Args:
            save_directory: An existing folder.
            filename_prefix: Prefix of both names, followed by a hyphen. Default: none.

        Raises:
            TokenizerError: the folder does not exist.
            StorageError: a file cannot be written; it is unchanged.
        """
        folder = Path(save_directory)
        if not folder.is_dir():
            raise TokenizerError(f"{save_directory} must be an existing folder. Create it, or use save_pretrained.")
        vocab, merges = self._vocabulary_files()
        names = VOCABULARY_FILES[0]
        return (
            str(_write(folder, names[0], vocab, filename_prefix)),
            str(_write(folder, names[1], merges, filename_prefix)),
        )

    @abstractmethod
    def _vocabulary_files(self) -> tuple[bytes, bytes]:
        """The content of ``vocab.json`` and ``merges.txt``."""


def _write(folder: Path, name: str, data: bytes, prefix: str | None) -> Path:
    path = folder / (f"{prefix}-{name}" if prefix else name)
    with atomic_write(path) as file:
        file.write(data)
    return path


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
    wanted = ", or ".join(" and ".join(pair) for pair in VOCABULARY_FILES)
    raise TokenizerError(f"cannot load a tokenizer from {folder}: it needs {wanted}, or {TOKENIZER_FILE}.")


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
            raise TokenizerError(f"{config_file}: {name} must be a token; got {value!r}.") from cause
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


def _config(tokenizer: Any) -> dict[str, Any]:
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
