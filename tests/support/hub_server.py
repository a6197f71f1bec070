"""A server that speaks the hub's protocol: repositories with branches and commits, large files, and every failure."""

import base64
import contextlib
import hashlib
import json
import os
import re
import subprocess
import sys
import textwrap
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

TOKEN = "hf_thisisasecret"
LARGE = (".safetensors", ".h5", ".msgpack", ".bin", ".npy")


@dataclass
class Repository:
    """Branches, each the list of its commits; a commit is all files by name."""

    private: bool = False
    branches: dict = field(default_factory=lambda: {"main": [{".gitattributes": b""}]})
    messages: list = field(default_factory=list)

    @property
    def files(self):
        """Those of the main branch, which a test may change."""
        return self.branches["main"][-1]

    def commit_id(self, revision):
        """Of a branch's last commit."""
        content = [(name, hashlib.sha256(data).hexdigest()) for name, data in self.branches[revision][-1].items()]
        return hashlib.sha1(repr((len(self.branches[revision]), sorted(content))).encode()).hexdigest()

    def at(self, revision):
        """The files of a branch or a commit, or ``None``."""
        for branch in self.branches:
            if revision in (branch, self.commit_id(branch)):
                return self.branches[branch][-1]
        return None


class Hub(ThreadingHTTPServer):
    """Repositories by name; ``fault`` says what goes wrong, ``at`` in which requests (a part of method and path)."""

    daemon_threads = True

    def __init__(self, folder=None):
        super().__init__(("127.0.0.1", 0), Answer)
        self.repositories, self.large, self.requests, self.states = {}, {}, [], []
        self.fault, self.at = None, ""
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        if folder:
            files = {path.name: path.read_bytes() for path in folder.iterdir()}
            self.repositories["owner/name"] = Repository(branches={"main": [files]})

    @property
    def files(self):
        """Those of ``owner/name``."""
        return self.repositories["owner/name"].files

    def state(self):
        """Every commit of every branch, and its files."""
        return {name: {b: list(commits) for b, commits in r.branches.items()} for name, r in self.repositories.items()}

    def handle_error(self, *_):
        """A client that went away is part of the tests."""

    def run(self, code, home, **environment):
        """What a program prints on standard output, in a process of its own that takes this server for the hub."""
        settings = {
            **{name: value for name, value in os.environ.items() if not name.startswith("HF_")},
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DOWNLOAD_TIMEOUT": "5",
            **environment,
        }
        program = "import time\ntime.sleep = lambda seconds: None  # between the client's attempts\n"
        program += textwrap.dedent(code)
        done = subprocess.run(
            [sys.executable, "-c", program], env=settings, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        assert TOKEN not in done.stdout + done.stderr
        return done.stdout.strip()


@contextlib.contextmanager
def serving(folder=None):
    """A server that runs, with a folder's files as ``owner/name``."""
    server = Hub(folder)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


class Answer(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def do_POST(self):
        self.answer()

    def do_PUT(self):
        self.answer()

    def answer(self):
        hub, line = self.server, f"{self.command} {self.path}"
        hub.requests.append(line)
        fault = hub.fault if hub.at in line and self.path != "/control" else None
        if fault == "cut" and self.command in ("POST", "PUT"):
            self.rfile.read(100)
            self.connection.close()
            return
        body = self.body()
        if isinstance(fault, int):
            self.reply(fault, {"error": "no"})
            return
        for pattern, method in ROUTES:
            if found := re.fullmatch(pattern, line.partition("?")[0]):
                if self.command == "POST" and self.headers.get("Authorization") != f"Bearer {TOKEN}":
                    self.reply(401, {"error": "Invalid username or password."})
                else:
                    method(self, body, fault, *map(unquote, found.groups()))
                return
        self.reply(404, {"error": "no such place"})

    def body(self):
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def repository(self, name):
        """One that is there, or an answer and ``None``."""
        if name not in self.server.repositories:
            self.reply(404, {"error": "Repository not found"}, **{"X-Error-Code": "RepoNotFound"})
        return self.server.repositories.get(name)

    def create(self, body, fault):
        wanted = json.loads(body)
        name = f"{wanted['organization'] or 'me'}/{wanted['name']}"
        known = name in self.server.repositories
        if not known:
            private = wanted.get("private") or wanted.get("visibility") == "private"
            self.server.repositories[name] = Repository(bool(private))
        self.reply(409 if known else 200, {"url": f"{self.server.url}/{name}", "error": "there is one"})

    def control(self, body, fault):
        """For a program that tries one failure after the other: what goes wrong from now on."""
        self.server.fault, self.server.at = json.loads(body)
        self.server.states.append(self.server.state())
        self.server.large.clear()  # or they would not be sent again
        self.reply(200, {})

    def validate(self, body, fault):
        self.reply(200, {"errors": [], "warnings": []})

    def branch(self, body, fault, name, branch):
        if repository := self.repository(name):
            known = branch in repository.branches
            repository.branches.setdefault(branch, list(repository.branches["main"]))
            self.reply(409 if known else 200, {})

    def info(self, body, fault, name, revision="main"):
        if repository := self.repository(name):
            if (files := repository.at(revision)) is None:
                self.reply(404, {}, **{"X-Error-Code": "RevisionNotFound"})
                return
            names = [{"rfilename": name} for name in files]
            sha = repository.commit_id(revision) if revision in repository.branches else revision
            self.reply(200, {"id": name, "sha": sha, "siblings": names})

    def preupload(self, body, fault, name, branch):
        files = self.server.repositories[name].branches[branch][-1]
        answer = []
        for entry in json.loads(body)["files"]:
            large = entry["path"].endswith(LARGE)
            old = files.get(entry["path"])
            oid = None if old is None else blob_id(old, large)
            mode = "lfs" if large else "regular"
            answer.append({"path": entry["path"], "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self.reply(200, {"files": answer})

    def batch(self, body, fault, name):
        objects = []
        for entry in json.loads(body)["objects"]:
            known = entry["oid"] in self.server.large
            upload = {"upload": {"href": f"{self.server.url}/large/{entry['oid']}"}}
            objects.append({**entry, **({} if known else {"actions": upload})})
        self.reply(200, {"transfer": "basic", "objects": objects})

    def put(self, body, fault, oid):
        if hashlib.sha256(body).hexdigest() != oid:
            self.reply(400, {"error": "another hash"})
            return
        self.server.large[oid] = body
        self.reply(200, {})

    def commit(self, body, fault, name, branch):
        """All lines or none."""
        repository = self.server.repositories[name]
        header, *lines = (json.loads(line) for line in body.splitlines())
        parent = header["value"].get("parentCommit")
        if fault == "race":
            repository.branches[branch].append({**repository.branches[branch][-1], "theirs.txt": b"theirs"})
        if parent and parent != repository.commit_id(branch):
            self.reply(412, {"error": "A commit has happened since. Please refresh and try again."})
            return
        files = dict(repository.branches[branch][-1])
        for line in lines:
            kind, value = line["key"], line["value"]
            if kind == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif kind == "lfsFile":
                files[value["path"]] = self.server.large[value["oid"]]
            elif kind == "deletedFile":
                del files[value["path"]]
        repository.branches[branch].append(files)
        repository.messages.append(header["value"]["summary"])
        sha = repository.commit_id(branch)
        self.reply(200, {"commitUrl": f"{self.server.url}/{name}/commit/{sha}", "commitOid": sha})

    def file(self, body, fault, name, revision, file):
        repository = self.server.repositories[name]
        files = repository.at(revision)
        if files is None or file not in files:
            self.reply(404, {}, **{"X-Error-Code": "EntryNotFound"})
            return
        data = sent = files[file]
        if file.endswith(".safetensors") and self.command == "GET":
            if fault == "hash":
                sent = bytes([data[0] ^ 1]) + data[1:]
            elif fault == "size":
                sent = data[:-9]
            elif fault == "cut":
                self.reply(200, data[:100], length=len(data), close=True)
                return
        headers = {
            "ETag": f'"{hashlib.sha256(data).hexdigest()}"',
            "X-Repo-Commit": repository.commit_id(revision) if revision in repository.branches else revision,
            "X-Linked-Size": str(len(data)),
        }
        self.reply(200, sent, **headers)

    def reply(self, status, body, length=None, close=False, **headers):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)
        self.close_connection = close


def blob_id(data, large):
    """How git, or its extension for large files, names a content."""
    return hashlib.sha256(data).hexdigest() if large else hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


NAME = "([^/ ]+/[^/ ]+)"
ROUTES = (
    (r"POST /api/repos/create", Answer.create),
    (r"PUT /control", Answer.control),
    (r"POST /api/validate-yaml", Answer.validate),
    (rf"POST /api/models/{NAME}/branch/([^/]+)", Answer.branch),
    (rf"POST /api/models/{NAME}/preupload/([^/]+)", Answer.preupload),
    (rf"POST /{NAME}\.git/info/lfs/objects/batch", Answer.batch),
    (r"PUT /large/([0-9a-f]{64})", Answer.put),
    (rf"POST /api/models/{NAME}/commit/([^/]+)", Answer.commit),
    (rf"GET /api/models/{NAME}", Answer.info),
    (rf"GET /api/models/{NAME}/revision/([^/]+)", Answer.info),
    (rf"(?:GET|HEAD) /{NAME}/resolve/([^/]+)/(.+)", Answer.file),
)
