"""Byte-pair training: learn a vocabulary from a corpus."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import repeat
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from gptcore.errors import TokenizerError
from gptcore.storage.tables import TEXT, find, parts
from tokenization.fast import OpenAIGPTTokenizerFast
from tokenization.text_paths.characters import lower
from tokenization.text_paths.modes import pre_tokenizer as make_pre_tokenizer
from tokenization.text_paths.pretokenizer import NEWLINE, PreTokenizer
from tokenization.vocabulary import END_OF_WORD, Vocabulary

MAX_VOCAB_SIZE = 10_000_000
COUNTED_CHUNKS = 500_000
REPEATED = 10_000
ALWAYS = "".join(map(chr, [*range(0x21, 0x7F), *range(0xC0, 0x180)]))
"""ASCII and the accented Latin letters: a corpus that lacks one would leave foreign names unknown."""

Progress = Callable[[int, int], None]
"""A function that is called with the number of bytes read so far and the total."""


def train(
    files: str | Path | Sequence[str | Path],
    vocab_size: int,
    folder: str | Path | None = None,
    *,
    pre_tokenizer: str = "auto",
    min_frequency: int = 2,
    unk_token: str = "<unk>",
    characters: str | None = None,
    show_progress: bool = True,
    progress: Progress | None = None,
) -> OpenAIGPTTokenizerFast:
    """Train a tokenizer on text files.

    The vocabulary has the order of the published one: the unknown token, the characters, the characters at the end of a
    word, then the merges. So every character of the corpus has a piece, unless you pass ``characters``. The same files
    give the same vocabulary, on any number of threads. Files are read in parts, so a corpus may be larger than memory;
    only its list of words must fit.

    Args:
        files: UTF-8 text files, plain, ``.xz`` or ``.gz``, or folders of such ``.txt`` files.
        vocab_size: Maximum number of pieces (40,478 in the published vocabulary); fewer if no pair is left to merge.
        folder: Folder for ``vocab.json``, ``merges.txt``, ``tokenizer.json`` and the settings. Default: not saved.
        pre_tokenizer: The text path, as for a tokenizer. Default: ``"auto"``.
        min_frequency: Minimum frequency of a pair to be merged. Default: 2.
        unk_token: The unknown token, which gets the id 0. Default: ``"<unk>"``.
        characters: The characters of the vocabulary. Default: those of the corpus, ASCII and accented Latin letters.
        show_progress: Whether to show a progress bar. Default: true.
        progress: Function that is called while files are read. Default: none.

    Returns:
        The tokenizer.

    Raises:
        DataError: There are no files, or a file is missing or not UTF-8.
        TokenizerError: The vocabulary is too small for the characters.

    >>> from tempfile import NamedTemporaryFile
    >>> with NamedTemporaryFile("w", suffix=".txt") as corpus:
    ...     _ = corpus.write("low lower lowest " * 9)
    ...     corpus.flush()
    ...     tokenizer = train(corpus.name, 600, pre_tokenizer="basic", show_progress=False)
    >>> tokenizer.tokenize("Lowest low!")
    ['lowest</w>', 'low</w>', '!</w>']
    """
    paths = find(files, TEXT)
    if not isinstance(vocab_size, int) or not 1 <= vocab_size <= MAX_VOCAB_SIZE:
        raise TokenizerError(f"vocab_size must be an integer, 1 to {MAX_VOCAB_SIZE:,}; got {vocab_size!r}.")
    path = make_pre_tokenizer(pre_tokenizer)
    counts = _count_words(paths, path, progress)
    alphabet = sorted(set(characters)) if characters is not None else _alphabet(counts, path)
    line_breaks = [NEWLINE + END_OF_WORD] if path.name == "original" else []
    first = [unk_token, *alphabet, *(character + END_OF_WORD for character in alphabet)]
    if vocab_size < len(first) + len(line_breaks):
        raise TokenizerError(
            f"vocab_size must be at least {len(first) + len(line_breaks)}: the alphabet has {len(alphabet)} "
            f"characters, each with two pieces; got {vocab_size}. Raise it, or pass fewer characters in characters=..."
        )
    learner = Tokenizer(models.BPE(unk_token=unk_token, end_of_word_suffix=END_OF_WORD))
    learner.pre_tokenizer = pre_tokenizers.CharDelimiterSplit(" ")
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(line_breaks),
        min_frequency=min_frequency,
        special_tokens=first,
        limit_alphabet=len(alphabet),
        end_of_word_suffix=END_OF_WORD,
        show_progress=show_progress,
    )
    learner.train_from_iterator(_spelled(counts, frozenset(alphabet)), trainer)
    vocabulary = _vocabulary(learner, line_breaks)
    tokenizer = OpenAIGPTTokenizerFast.from_vocabulary(vocabulary, pre_tokenizer=path.name, unk_token=unk_token)
    if folder is not None:
        tokenizer.save_pretrained(folder)
    return tokenizer


def _count_words(files: list[Path], path: PreTokenizer, progress: Progress | None) -> Counter[str]:
    """Count the words. Chunks are counted first, because splitting them into words is slower than counting."""
    words: Counter[str] = Counter()
    chunks: Counter[str] = Counter()

    def flush() -> None:
        for chunk, count in chunks.items():
            split = path.split(chunk)
            for word in path.split_line([chunk]) if split is None else split:
                words[word] += count
        chunks.clear()

    size = sum(file.stat().st_size for file in files)
    done = 0
    for file in files:
        for text in parts(file):
            for block in path.blocks(lower(text)):
                chunks.update(block)
            if len(chunks) > COUNTED_CHUNKS:
                flush()
        done += file.stat().st_size
        if progress:
            progress(done, size)
    flush()
    words.pop(NEWLINE, None)
    return words


def _alphabet(counts: Counter[str], path: PreTokenizer) -> list[str]:
    """The characters of all words, the most frequent first."""
    characters = Counter(character for word in path.words(lower(" ".join(ALWAYS))) for character in word)
    for word, count in counts.items():
        for character in word:
            characters[character] += count
    return sorted(characters, key=lambda character: (-characters[character], character))


def _spelled(counts: Counter[str], alphabet: frozenset[str]) -> Iterator[str]:
    """Yield every word as often as it occurs, except those with unknown characters."""
    for word in sorted(counts):
        if alphabet.issuperset(word):
            for start in range(0, counts[word], REPEATED):
                yield " ".join(repeat(word, min(REPEATED, counts[word] - start)))


def _vocabulary(learner: Tokenizer, line_breaks: Iterable[str]) -> Vocabulary:
    """The learned vocabulary, with the line break last, as in the published one."""
    model = json.loads(learner.to_str())["model"]
    merges = [merge.split(" ") if isinstance(merge, str) else merge for merge in model["merges"]]
    encoder = dict(sorted(model["vocab"].items(), key=lambda item: item[1]))
    for line_break in line_breaks:
        encoder[line_break] = len(encoder)
    return Vocabulary(encoder, tuple((first, second) for first, second in merges))
