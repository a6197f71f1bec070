"""Tokens to text. The two classes join tokens differently, like the classes of transformers with these names."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from gptcore.errors import InputError
from tokenization.inputs import to_list
from tokenization.vocabulary import END_OF_WORD


def ids_of_text(token_ids: object) -> list[int]:
    """The ids of one text as a list.

    Raises:
        InputError: The argument is not the ids of a single text.
    """
    ids = to_list(token_ids)
    if isinstance(ids, str) or (isinstance(ids, list) and any(isinstance(i, (str, list)) for i in ids)):
        raise InputError(f"token_ids must be the ids of one text; got {ids!r:.80}. Use batch_decode for several.")
    return [ids] if isinstance(ids, int) else [int(i) for i in ids]


def plain_string(tokens: list[str]) -> str:
    """Join tokens as the plain class does: no white space at either end."""
    return "".join(tokens).replace(END_OF_WORD, " ").strip()


def fast_string(tokens: list[str]) -> str:
    """Join tokens as the fast class does: only the last token has no space after it."""
    if not tokens:
        return ""
    return "".join(tokens[:-1]).replace(END_OF_WORD, " ") + tokens[-1].replace(END_OF_WORD, "")


def join_apart(
    tokens: Iterable[str], apart: Collection[str], to_string: Callable[[list[str]], str], separator: str
) -> str:
    """Join tokens; ``separator`` stands between a token in ``apart`` and the text around it.

    >>> join_apart(["a</w>", "<pad>", "b</w>", "c</w>"], {"<pad>"}, plain_string, "_")
    'a_<pad>_b c'
    """
    parts: list[str] = []
    run: list[str] = []
    for token in tokens:
        if token not in apart:
            run.append(token)
            continue
        text = to_string(run)
        parts += [text, token] if text else [token]
        run = []
    if run:
        parts.append(to_string(run))
    return separator.join(parts)


def clean_up(text: str) -> str:
    """Remove the spaces before some punctuation and contractions, as transformers does."""
    for artifact in (" .", " ?", " !", " ,"):
        text = text.replace(artifact, artifact[1:])
    text = text.replace(" ' ", "'")
    for artifact in (" n't", " 'm", " 's", " 've", " 're"):
        text = text.replace(artifact, artifact[1:])
    return text
