"""``gptcore generate``: continue a text, or a file of texts."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.progress import track

from gptcore import DEFAULT_MODEL
from gptcore.cli.loading import load_backends
from gptcore.cli.settings import SHIPPED, parse_settings
from gptcore.errors import InputError
from gptcore.files import decoded
from gptcore.generation import GenerationConfig, TextStreamer
from gptcore.parameters import Head
from tokenization import OpenAIGPTTokenizerFast


def generate_command(
    text: Annotated[str | None, typer.Argument(help="What to continue.")] = None,
    model: Annotated[
        str, typer.Option(help="A folder, or owner/name on the hub.", show_default=SHIPPED)
    ] = DEFAULT_MODEL,
    backend: Annotated[str, typer.Option(help="torch, tf or flax.")] = "torch",
    file: Annotated[Path | None, typer.Option(help="One prompt a line; answers are JSON lines.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Prompts at a time, of a file.")] = 8,
    dtype: Annotated[str, typer.Option(help="float32, float64, bfloat16 or float16.")] = "float32",
    quantization: Annotated[str | None, typer.Option(help="int8: a byte a weight; torch only.")] = None,
    pre_tokenizer: Annotated[str | None, typer.Option(help="basic, original or auto; default: as recorded.")] = None,
    max_new_tokens: Annotated[int, typer.Option(help="Length of the continuation.")] = 40,
    sample: Annotated[bool, typer.Option(help="Draw tokens at random.")] = False,
    temperature: Annotated[float, typer.Option(help="Divides the logits.")] = 1.0,
    top_k: Annotated[int, typer.Option(help="Keep the k likeliest tokens; 0 keeps all.")] = 50,
    top_p: Annotated[float, typer.Option(help="Keep the likeliest tokens of this probability.")] = 1.0,
    num_beams: Annotated[int, typer.Option(help="Beam search.")] = 1,
    repetition_penalty: Annotated[float, typer.Option(help="Above 1: fewer repetitions.")] = 1.0,
    no_repeat_ngram_size: Annotated[int, typer.Option(help="No run of that many tokens twice.")] = 0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same text in every backend.")] = 0,
    setting: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=JSON", help="Any other setting of GenerationConfig.")
    ] = None,
) -> None:
    """Continue a text, word by word as it comes; or each line of a file."""
    if (text is None) == (file is None):
        raise InputError("pass a text or --file, one of the two")
    settings: dict[str, Any] = {
        "max_new_tokens": max_new_tokens,
        "do_sample": sample,
        "temperature": temperature,
        "top_k": top_k,
        "top_p": top_p,
        "num_beams": num_beams,
        "repetition_penalty": repetition_penalty,
        "no_repeat_ngram_size": no_repeat_ngram_size,
        "seed": seed,
        **parse_settings(setting or [], "--set"),
    }
    GenerationConfig(**settings)  # mistakes are told before a model is loaded
    prompts = [text] if text is not None else _lines(file)
    options = {} if pre_tokenizer is None else {"pre_tokenizer": pre_tokenizer}
    tokenizer = OpenAIGPTTokenizerFast.from_pretrained(model, **options)
    loaded = load_backends([backend])[0].load(model, Head.LM, dtype=dtype, quantization=quantization)
    if text is not None:
        _one(loaded, tokenizer, text, settings)
    else:
        _many(loaded, tokenizer, prompts, batch_size, settings)


def _one(model: Any, tokenizer: Any, text: str, settings: dict[str, Any]) -> None:
    ids = np.array([tokenizer(text).input_ids], np.int64).reshape(1, -1)
    if settings["num_beams"] > 1:
        print(tokenizer.decode(model.generate(ids, tokenizer=tokenizer, **settings)[0]))
        return
    streamer = TextStreamer(tokenizer, _show, skip_prompt=False)
    model.generate(ids, streamer=streamer, tokenizer=tokenizer, **settings)
    print()


def _show(piece: str) -> None:
    sys.stdout.write(piece)
    sys.stdout.flush()


def _many(model: Any, tokenizer: Any, prompts: list[str], batch_size: int, settings: dict[str, Any]) -> None:
    starts = range(0, len(prompts), batch_size)
    for start in track(starts, "generating", console=Console(stderr=True), disable=not sys.stderr.isatty()):
        batch = prompts[start : start + batch_size]
        rows = [tokenizer(prompt).input_ids for prompt in batch]
        width = max(map(len, rows))
        ids, mask = np.zeros((len(rows), width), np.int64), np.zeros((len(rows), width), np.int64)
        for i, row in enumerate(rows):
            ids[i, width - len(row) :], mask[i, width - len(row) :] = row, 1
        output = model.generate(ids, mask, tokenizer=tokenizer, **settings)
        returned = len(output) // len(rows)
        for i, new in enumerate(output[:, width:]):
            answer = {"prompt": batch[i // returned], "text": tokenizer.decode(new), "ids": new.tolist()}
            print(json.dumps(answer, ensure_ascii=False), flush=True)


def _lines(file: Path | None) -> list[str]:
    assert file is not None
    try:
        content = file.read_bytes()
    except OSError as cause:
        raise InputError(f"cannot read {file}: {cause.strerror}") from cause
    lines = io.StringIO(decoded(content, file, InputError), newline=None)
    return [line.rstrip("\n") for line in lines if line.strip()]
