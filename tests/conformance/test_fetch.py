"""Fetching the vectors: from a loopback server, since tests reach nothing else."""

import hashlib
import json
import subprocess
import sys
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.conformance.fetch import FetchError, fetch
from tests.conformance.sources import MANIFEST, base_url, sources
from tests.vectors import vectors_dir

FILES = {"LICENSE": b"do as you like\n", "a/x.json": b"{}", "y z.txt": b"\x00\xff"}


@pytest.fixture
def manifest(tmp_path):
    """A list of one set that can be fetched and one that cannot."""
    one = {"repository": "them/set", "commit": "c0ffee", "licence": "MIT"}
    files = {name: hashlib.sha256(body).hexdigest() for name, body in FILES.items()}
    document = {
        "base_url": "https://them.example",
        "offered": [one | {"folder": "set", "under": "data/", "files": files}],
        "extracts": [one | {"folder": "extract"}],
    }
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(document), "utf-8")
    return path


@pytest.fixture
def server():
    """A server with the files where a repository has them; `asked` are its requests."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.server.asked.append(self.path)
            body = self.server.files.get(urllib.parse.unquote(self.path))
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        root = "/them/set/c0ffee"
        running.files = {f"{root}/data/{name}": body for name, body in FILES.items()}
        running.files[f"{root}/LICENSE"] = FILES["LICENSE"]
        running.asked = []
        running.base = f"http://127.0.0.1:{running.server_port}"
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def written(folder):
    """Every file below a folder, by its path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_files_are_fetched_at_their_commit_and_only_once(manifest, server, tmp_path):
    """What is there and right is not asked for again."""
    folder = tmp_path / "vectors"
    assert len(fetch(folder, base=server.base, manifest=manifest)) == 3
    found = written(folder)
    text = found.pop("SOURCES.md").decode()
    assert found == {f"set/{name}": body for name, body in FILES.items()}
    assert "them/set c0ffee, MIT" in text
    assert "`extract`" in text.partition("Not offered")[2]
    assert "/them/set/c0ffee/data/y%20z.txt" in server.asked
    server.asked.clear()
    (folder / "set/a/x.json").write_bytes(b"another")
    assert fetch(folder, base=server.base, manifest=manifest) == [
        folder / "set/a/x.json"
    ]
    assert server.asked == ["/them/set/c0ffee/data/a/x.json"]
    assert (folder / "set/a/x.json").read_bytes() == b"{}"


def test_other_content_is_refused_and_nothing_of_it_is_written(
    manifest, server, tmp_path
):
    """A file that changed under its commit is not what was judged."""
    server.files["/them/set/c0ffee/data/a/x.json"] = b"{ }"
    folder = tmp_path / "vectors"
    with pytest.raises(FetchError, match="SHA-256"):
        fetch(folder, base=server.base, manifest=manifest)
    # Not even a name that tests would find, nor a part of a file.
    assert written(folder) == {"set/LICENSE": FILES["LICENSE"]}


def test_missing_file_is_an_error_that_names_it(manifest, server, tmp_path):
    """The folder is not taken for a whole one."""
    del server.files["/them/set/c0ffee/data/y z.txt"]
    with pytest.raises(FetchError, match=r"y%20z\.txt: HTTP Error 404"):
        fetch(tmp_path / "vectors", base=server.base, manifest=manifest)
    assert not (tmp_path / "vectors/SOURCES.md").exists()


def test_command_says_what_failed_and_exits_with_1(tmp_path):
    """Nobody listens there."""
    module = ("-m", "tests.conformance.fetch", str(tmp_path / "vectors"))
    said = subprocess.run(
        [sys.executable, *module, "--base-url", "http://127.0.0.1:1"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert said.returncode == 1
    assert said.stderr.startswith("http://127.0.0.1:1/C2SP/wycheproof/")
    assert "Traceback" not in said.stderr


def test_manifest_offers_whole_files_over_https_only():
    """The HTTP sets are extracts, which nobody else publishes."""
    assert base_url().startswith("https://")
    offered = {source.folder for source in sources() if source.files}
    assert offered == {
        *("wycheproof", "jsontestsuite", "rfc7520-cookbook", "joserfc", "pyjwt"),
        *("blns", "crlf"),
    }
    for source in sources():
        assert all(len(digest) == 64 for digest in source.files.values())
        assert not source.files or len(source.commit) == 40
        assert not any(".." in Path(name).parts for name in source.files)


def test_manifest_names_the_files_that_tests_use():
    """Whoever fetches gets the very bytes that were judged."""
    folder = vectors_dir()
    for source in sources(MANIFEST):
        for name, digest in source.files.items():
            body = (folder / source.folder / name).read_bytes()
            assert hashlib.sha256(body).hexdigest() == digest, (source.folder, name)
