"""The two text paths by name, and the choice of "auto"."""

from __future__ import annotations

import copyreg
import gc
import logging
from collections.abc import Callable
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from gptcore.errors import TokenizerError
from gptcore.installation import install_command
from tokenization.text_paths.basic import BasicPreTokenizer
from tokenization.text_paths.original import OriginalPreTokenizer
from tokenization.text_paths.pretokenizer import PreTokenizer

MODES = ("auto", "original", "basic")
ORIGINAL_FINGERPRINTS = ("d56fd93cd6ab112b",)
"""The rules that give the published ids: spaCy 3.8 with ftfy 6.3."""

logger = logging.getLogger("tokenization")


def pre_tokenizer(mode: str, fingerprint: str | None = None) -> PreTokenizer:
    """Return the text path of a mode.

    Args:
        mode: ``"basic"``, ``"original"``, or ``"auto"``: original if spaCy and ftfy are installed and have the
            published model's rules, else basic.
        fingerprint: The required fingerprint of the path's rules, as in a saved tokenizer. Default: any known one.

    Raises:
        TokenizerError: The mode is unknown, spaCy or ftfy is missing, or the installed versions have other rules.
    """
    if mode not in MODES:
        raise TokenizerError(f"pre_tokenizer must be one of {', '.join(map(repr, MODES))}; got {mode!r}.")
    if mode == "auto":
        mode = _automatic()
    if mode == "basic":
        path: PreTokenizer = BasicPreTokenizer()
        known: tuple[str, ...] = (BasicPreTokenizer.fingerprint,)
    else:
        path, known = _original(), ORIGINAL_FINGERPRINTS
    required = (fingerprint,) if fingerprint else known
    if path.fingerprint not in required:
        if mode == "original":
            advice = (
                f"Installed: {_versions()}. Install spacy>=3.8,<3.9 and ftfy>=6.3,<6.4, or pass "
                "pre_tokenizer='basic', which gives different ids."
            )
        else:
            advice = "Use the version of gptcore that saved the tokenizer, or pass rules=None to accept other ids."
        raise TokenizerError(
            f"cannot use the text path {mode!r}: its rules have the fingerprint {path.fingerprint}, but the tokenizer "
            f"needs {' or '.join(map(str, required))}, so ids would differ. {advice}"
        )
    return path


@cache
def _original() -> OriginalPreTokenizer:
    try:
        path = OriginalPreTokenizer()
        gc.collect()  # the import of spaCy leaves so much garbage that the first call would take twice the time
        return path
    except ImportError as cause:
        raise TokenizerError(
            f"pre_tokenizer='original' needs spaCy and ftfy, but {cause.name or cause} is missing: "
            f"{install_command('original')}"
        ) from cause


@cache
def _automatic() -> str:
    """Resolve ``"auto"`` once per process, and log the choice."""
    try:
        path = _original()
        if path.fingerprint in ORIGINAL_FINGERPRINTS:
            logger.warning(
                "pre_tokenizer='auto' resolves to 'original' (ftfy and spaCy's English rules: the published model's "
                "ids). Without spaCy and ftfy it resolves to 'basic', with different ids. Pass one of the two to be "
                "independent of what is installed."
            )
            return "original"
        reason = f"{_versions()} have other rules than the published model"
    except TokenizerError as error:
        reason = str(error.__cause__)
    logger.warning(
        "pre_tokenizer='auto' resolves to 'basic' (%s). It strips accents, splits \"don't\" at the apostrophe and "
        "drops line breaks, so ids differ from those that the published model was trained on. For 'original': %s",
        reason,
        install_command("original"),
    )
    return "basic"


def _versions() -> str:
    versions = []
    for name in ("spacy", "ftfy"):
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            versions.append(f"no {name}")
    return ", ".join(versions)


def _reduced(path: PreTokenizer) -> tuple[Callable[..., PreTokenizer], tuple[str, str]]:
    """Pickle a path by its name and fingerprint only; its rules must be the same when it is loaded."""
    return pre_tokenizer, (path.name, path.fingerprint)


for _path in (BasicPreTokenizer, OriginalPreTokenizer):
    copyreg.pickle(_path, _reduced)
