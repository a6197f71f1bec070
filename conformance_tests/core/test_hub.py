"""Loading from a server that speaks the hub's protocol, and what happens when it fails."""

import hashlib
import json
import os
import subprocess
import sys
import textwrap
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from checkpoint_data import save

from gptcore.parameters import Head

COMMIT = "0123456789abcdef0123456789abcdef01234567"
TOKEN = "hf_thisisasecret"


class Hub(ThreadingHTTPServer):
    """A repository ``owner/name`` with the files of a folder; ``fault`` says what goes wrong."""

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), Answer)
        self.files = {path.name: path.read_bytes() for path in folder.iterdir()}
        self.fault, self.requests = None, []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        hub = self.server
        hub.requests.append(f"{self.command} {self.path}")
        if isinstance(hub.fault, int):
            self.reply(hub.fault, b'{"error": "no"}')
        elif self.path.startswith("/api/models/owner/name"):
            body = {"id": "owner/name", "sha": COMMIT, "siblings": [{"rfilename": name} for name in hub.files]}
            self.reply(200, json.dumps(body).encode())
        else:
            self.file(self.path.rpartition("/")[2])

    def file(self, name):
        data, fault = self.server.files[name], self.server.fault
        sent = data
        if name == "model.safetensors" and self.command == "GET":
            if fault == "hash":
                sent = bytes([data[0] ^ 1]) + data[1:]
            elif fault == "size":
                sent = data[:-9]
            elif fault == "cut":
                self.reply(200, data[:100], length=len(data), close=True)
                return
        headers = {
            "ETag": f'"{hashlib.sha256(data).hexdigest()}"',
            "X-Repo-Commit": COMMIT,
            "X-Linked-Size": str(len(data)),
        }
        self.reply(200, sent, **headers)

    def reply(self, status, body, length=None, close=False, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)
        self.close_connection = close


@pytest.fixture
def hub(tmp_path):
    folder = save(tmp_path / "repository", Head.LM)
    for form in ("flax", "pytorch", "keras"):
        save(folder, Head.LM, form=form)
    (folder / "README.md").write_text("a card")
    server = Hub(folder)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def load(hub, tmp_path):
    """A function (code of the call) -> what it prints: in a process of its own, which reads the settings anew."""

    def load(call="open_pretrained('owner/name', Head.LM)", **environment):
        code = textwrap.dedent(f"""
            from gptcore.checkpoint import open_pretrained
            from gptcore.config import OpenAIGPTConfig
            from gptcore.parameters import Head
            try:
                print("loaded", {call}.config.n_layer)
            except ValueError as error:
                print(type(error).__name__, error)
        """)
        settings = {
            **{name: value for name, value in os.environ.items() if not name.startswith("HF_")},
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(tmp_path / "home"),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DOWNLOAD_TIMEOUT": "5",
            **environment,
        }
        done = subprocess.run([sys.executable, "-c", code], env=settings, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert TOKEN not in done.stdout + done.stderr
        return done.stdout.strip()

    return load


def fetched(hub):
    return sorted({request.rpartition("/")[2] for request in hub.requests if request.startswith("GET /owner/name")})


def test_only_what_is_needed_is_fetched_and_once(hub, load):
    assert load() == "loaded 2"
    assert fetched(hub) == ["config.json", "model.safetensors"]
    hub.requests.clear()
    assert load() == "loaded 2"
    assert fetched(hub) == []


def test_the_only_format_is_taken_unless_it_is_a_pickle(hub, load):
    for name in ("model.safetensors", "model.weights.h5", "flax_model.msgpack"):
        del hub.files[name]
    assert "pass allow_pickle=True" in load()
    assert fetched(hub) == []
    assert load("open_pretrained('owner/name', Head.LM, allow_pickle=True)") == "loaded 2"
    assert fetched(hub) == ["config.json", "pytorch_model.bin"]


def test_offline_the_cache_serves(hub, load):
    for setting in ({"HF_HUB_OFFLINE": "1"}, {}):
        call = "open_pretrained('owner/name', Head.LM)" if setting else None
        local = call or "open_pretrained('owner/name', Head.LM, local_files_only=True)"
        assert load(local, **setting).startswith("CheckpointError 'owner/name' is not a local folder")
    assert hub.requests == []
    load()
    hub.requests.clear()
    assert load(HF_HUB_OFFLINE="1") == "loaded 2"
    assert load("open_pretrained('owner/name', Head.LM, local_files_only=True)") == "loaded 2"
    assert hub.requests == []
    hub.fault = 500
    assert load() == "loaded 2"  # the hub fails, the cache does not


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (401, "wants a valid token"),
        (403, "may not read it"),
        (404, "no such repository or revision"),
        (429, "too many requests"),
        (500, "the hub has trouble (500)"),
    ],
)
def test_statuses_are_told_in_words(hub, load, fault, told):
    hub.fault = fault
    answer = load(f"open_pretrained('owner/name', Head.LM, token={TOKEN!r})")
    assert answer.startswith("CheckpointError")
    assert told in answer
    assert len(answer.splitlines()) == 1


@pytest.mark.parametrize("fault", ["hash", "size", "cut"])
def test_damage_on_the_way_leaves_the_cache_valid(hub, load, fault):
    hub.fault = fault
    answer = load()
    assert answer.startswith("CheckpointError 'owner/name'")
    hub.fault = None
    assert load() == "loaded 2"


def test_nobody_answers(load):
    answer = load(HF_ENDPOINT="http://127.0.0.1:9")
    assert answer.startswith("CheckpointError 'owner/name' is not a local folder, and the hub did not give it")


def test_a_config_alone(hub, load):
    assert (
        load("type('Only', (), {'config': OpenAIGPTConfig.from_pretrained('owner/name', revision='main')})")
        == "loaded 2"
    )
    assert fetched(hub) == ["config.json"]
