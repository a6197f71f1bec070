"""Streams of text that nobody reads to the end, over models that need no framework."""

import subprocess
import sys
import threading

import numpy as np
import pytest

from gptcore.generation import TextStreamer, stream_text
from tokenization.readable import readable_text


class Words:
    def decode(self, ids):
        return "".join("word " for _ in ids).strip()


class EndlessModel:
    """Generates until its streamer says no; waits before token 3 until a test lets it go on."""

    def __init__(self):
        self.tokens, self.settings, self.may_go_on, self.ended = 0, {}, threading.Event(), threading.Event()

    def generate(self, input_ids, *, streamer, **settings):
        self.settings = settings
        try:
            streamer.put(input_ids)
            while True:
                self.tokens += 1
                if self.tokens == 3:
                    assert self.may_go_on.wait(60)
                streamer.put(np.array([1]))
        finally:
            self.ended.set()


@pytest.mark.parametrize("leave", ["close", "forget"])
def test_an_abandoned_stream_ends_with_the_next_token(leave):
    model = EndlessModel()
    stream = stream_text(model, Words(), np.array([[1]]))
    assert next(stream) == "word"
    if leave == "close":
        stream.close()
    else:
        del stream
    model.may_go_on.set()
    assert model.ended.wait(60)
    assert model.tokens == 3


def test_a_stream_that_nobody_begins_computes_nothing():
    model = EndlessModel()
    stream_text(model, Words(), np.array([[1]])).close()
    assert model.tokens == 0


def test_the_model_gets_the_tokenizer_for_stop_strings():
    model, words = EndlessModel(), Words()
    stream = stream_text(model, words, np.array([[1]]), stop_strings="end")
    next(stream)
    assert model.settings == {"tokenizer": words, "stop_strings": "end"}
    stream.close()
    model.may_go_on.set()


def test_a_program_may_end_while_a_stream_is_open():
    program = """
import numpy as np
from gptcore.generation import TextStreamer, stream_text
from tokenization.readable import readable_text

class Words:
    decode = staticmethod(lambda ids: "word " * len(ids))

class Model:
    def generate(self, input_ids, *, streamer, tokenizer):
        try:
            while True:
                streamer.put(np.array([1]))
        finally:
            print("ended", flush=True)

stream = stream_text(Model(), Words(), np.array([[1]]))
print(next(stream), flush=True)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "word\nended\n", "")


def test_readable_pieces_are_the_readable_text():
    text = "\" do n't , \" said the king ' s dogs ' , and ( so ) it went : 3 . 50 , or more . the end"
    words = text.split(" ")

    class Tokenizer:
        def decode(self, ids, *, readable):
            return readable_text(" ".join(words[i] for i in ids))

    pieces = []
    streamer = TextStreamer(Tokenizer(), pieces.append, skip_prompt=False, readable=True)
    for i in range(len(words)):
        streamer.put(np.array([i]))
    streamer.end()
    whole = readable_text(text)
    assert "".join("".join(pieces).split()) == "".join(whole.split())  # no character is lost or comes twice
    assert "".join(pieces) == whole
    assert len(pieces) > 8
