"""``gptcore generate``: continue a text, or a file of texts."""

from __future__ import annotations

import json
import re
import secrets
import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import track

from gptcore.backends import require
from gptcore.cli.loading import Device, use_backend
from gptcore.cli.settings import PRE_TOKENIZER, SHIPPED, parse_settings
from gptcore.errors import ConfigError, DataError, InputError
from gptcore.generation import GenerationConfig, TextStreamer, check_prompt, settled
from gptcore.pipelines import left_padded
from gptcore.release import DEFAULT_MODEL
from gptcore.spec.parameters import Head
from gptcore.storage.tables import decoded
from tokenization import OpenAIGPTTokenizerFast, TokenizerOptions

SAMPLING = ("temperature", "top_k", "top_p", "min_p", "typical_p")
"""The settings that only sampling uses."""


def generate_command(
    context: typer.Context,
    text: Annotated[str | None, typer.Argument(help="The text to continue.")] = None,
    model: Annotated[
        str, typer.Option(help="A folder, or owner/name on the hub.", show_default=SHIPPED)
    ] = DEFAULT_MODEL,
    backend: Annotated[str, typer.Option(help="torch, tf or flax.")] = "torch",
    device: Device = None,
    file: Annotated[Path | None, typer.Option(help="A file with one prompt per line; prints JSON lines.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Number of prompts of a file to process at a time.")] = 8,
    dtype: Annotated[str, typer.Option(help="float32, float64, bfloat16 or float16.")] = "float32",
    quantization: Annotated[str | None, typer.Option(help="int8: one byte per weight; torch only.")] = None,
    pre_tokenizer: Annotated[str | None, typer.Option(help=f"{PRE_TOKENIZER} Default: as saved.")] = None,
    max_new_tokens: Annotated[int, typer.Option(help="Maximum number of new tokens.")] = 40,
    greedy: Annotated[bool, typer.Option("--greedy", help="Select the most likely token instead of sampling.")] = False,
    temperature: Annotated[
        float | None, typer.Option(help="Sampling temperature. Lower is more predictable.", show_default="1.0")
    ] = None,
    top_k: Annotated[
        int | None, typer.Option(help="Sample from the k likeliest tokens; 0 keeps all.", show_default="50")
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(
            help="Sample from the smallest set of tokens whose probabilities add up to this.", show_default="1.0"
        ),
    ] = None,
    num_beams: Annotated[int, typer.Option(help="Number of beams. Above 1: beam search, not sampling.")] = 1,
    repetition_penalty: Annotated[float, typer.Option(help="Values above 1 reduce repetition.")] = 1.0,
    no_repeat_ngram_size: Annotated[int, typer.Option(help="Never repeat a sequence of this many tokens. 0: off.")] = 0,
    seed: Annotated[
        int | None,
        typer.Option(
            help="Random seed. In float32, every backend gives the same text.", show_default="random, and printed"
        ),
    ] = None,
    raw: Annotated[bool, typer.Option("--raw", help="Keep the spaces that the model puts around punctuation.")] = False,
    setting: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Any other setting of GenerationConfig.")
    ] = None,
) -> None:
    """Continue a text, or each line of --file.

    Tokens are sampled unless --greedy, --num-beams above 1 or --set penalty_alpha=... is passed.
    """
    if (text is None) == (file is None):
        raise ConfigError("pass either a text or --file, and not both.")
    of_sampling = {"temperature": temperature, "top_k": top_k, "top_p": top_p}
    more = parse_settings(setting or [], "--set")
    draws = not greedy and num_beams == 1 and more.get("penalty_alpha") is None
    settings: dict[str, Any] = {
        "max_new_tokens": max_new_tokens,
        "do_sample": draws,
        **{name: value for name, value in of_sampling.items() if value is not None},
        "num_beams": num_beams,
        "repetition_penalty": repetition_penalty,
        "no_repeat_ngram_size": no_repeat_ngram_size,
        "seed": secrets.randbelow(10**6) if seed is None else seed,
        **more,
    }
    GenerationConfig(**settings)  # raises before a model is loaded
    _check_sampling(settings)
    lines = {} if file is None else _lines(file)
    options: TokenizerOptions = {} if pre_tokenizer is None else {"pre_tokenizer": pre_tokenizer}
    tokenizer = OpenAIGPTTokenizerFast.from_pretrained(model, **options)
    framework = use_backend(context, backend, device)
    require(framework, "generate")
    own = {} if quantization is None else {"quantization": quantization}
    loaded = framework.load(model, Head.LM, dtype=dtype, **own)
    if text is not None:
        _one(loaded, tokenizer, text, settings, raw)
    else:
        _many(loaded, tokenizer, lines, file, batch_size, settings, raw)
    if seed is None and settings["do_sample"]:
        print(f"(To repeat this text, pass --seed {settings['seed']}.)", file=sys.stderr)


def _check_sampling(settings: dict[str, Any]) -> None:
    """Raise a ``ConfigError`` for settings of sampling that would have no effect."""
    unused = [name for name in SAMPLING if name in settings]
    if settings.get("penalty_alpha") is not None and "top_k" in unused:
        unused.remove("top_k")  # contrastive search ranks this many candidates
    if unused and not settings["do_sample"]:
        raise ConfigError(
            f"cannot use {', '.join(unused)}: --greedy, --num-beams above 1 and penalty_alpha turn sampling off. Omit "
            f"{', '.join(unused)}, or omit that option."
        )


def _one(model: Any, tokenizer: Any, text: str, settings: dict[str, Any], raw: bool) -> None:
    ids = np.array([tokenizer(text, add_special_tokens=False).input_ids], np.int64).reshape(1, -1)
    if settings["num_beams"] > 1:
        print(tokenizer.decode(model.generate(ids, tokenizer=tokenizer, **settings)[0], readable=not raw))
        return
    streamer = TextStreamer(tokenizer, _show, skip_prompt=False, readable=not raw)
    try:
        model.generate(ids, streamer=streamer, tokenizer=tokenizer, **settings)
    except KeyboardInterrupt:
        streamer.end()  # prints the text that it has buffered
        raise
    finally:
        print()


def _show(piece: str) -> None:
    sys.stdout.write(piece)
    sys.stdout.flush()


def _many(
    model: Any,
    tokenizer: Any,
    lines: dict[int, str],
    file: Path | None,
    batch_size: int,
    settings: dict[str, Any],
    raw: bool,
) -> None:
    """Continue the lines of a file, by number; all of them are checked before the first answer."""
    config, prompts = settled(model.config, None, settings), []
    for number, line in lines.items():
        ids = tokenizer(line, add_special_tokens=False, verbose=False).input_ids
        try:
            check_prompt(model.config, config, np.array([ids], np.int64))
        except InputError as cause:
            raise InputError(f"{file}, line {number}: {cause}") from cause
        prompts.append((line, ids))
    in_unicode = (sys.stdout.encoding or "utf-8").lower().startswith("utf")  # escapes are JSON in every encoding
    starts = range(0, len(prompts), batch_size)
    for start in track(starts, "generating", console=Console(stderr=True), disable=not sys.stderr.isatty()):
        batch = prompts[start : start + batch_size]
        ids, mask = left_padded([row for _, row in batch])
        output = model.generate(ids, mask, tokenizer=tokenizer, **settings)
        returned = len(output) // len(batch)
        for i, new in enumerate(output[:, ids.shape[1] :]):
            text = tokenizer.decode(new, readable=not raw)
            answer = {"prompt": batch[i // returned][0], "text": text, "ids": new.tolist()}
            print(json.dumps(answer, ensure_ascii=not in_unicode), flush=True)


def _lines(file: Path) -> dict[int, str]:
    """The lines of a file by number, without blank ones; other characters that Unicode breaks lines at are text."""
    try:
        content = file.read_bytes()
    except OSError as cause:
        raise DataError(f"cannot read {file}: {cause.strerror}") from cause
    lines = re.split("\r\n?|\n", decoded(content, file))
    return {number: line for number, line in enumerate(lines, 1) if line.strip()}
