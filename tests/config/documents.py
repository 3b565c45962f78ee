"""Configurations that tests start from, and the one way they load them."""

from collections.abc import Mapping
from pathlib import Path

from fastgate.config.load import Loaded, load
from fastgate.config.problems import Level

EXAMPLE = Path(__file__).with_name("example.yaml")
SECRET_PATH = "/run/secrets/introspection"

# One key a line, so that a test can replace the line it is about.
BASE = """\
region: eu
regions:
  names: [eu, us]
  default: eu
issuers:
  login:
    issuer: https://login.example.com
    jwks_url: https://login.example.com/jwks
    audience: [api]
services:
  orders:
    eu: [http://10.0.1.5:9000]
    us: [http://10.1.1.5:9000]
routes:
  - path: /orders/
    service: orders
    token: {issuer: login}
"""


def changed(old: str, new: str, *more: str) -> str:
    """Return BASE with `old` replaced by `new`, and so on in pairs."""
    text = BASE
    pairs = (old, new, *more)
    for before, after in zip(pairs[::2], pairs[1::2], strict=True):
        assert before in text, before
        text = text.replace(before, after)
    return text


def load_text(
    folder: Path, text: str, environ: Mapping[str, str] | None = None
) -> Loaded:
    """Load `text` as the file fastgate.yaml."""
    path = folder / "fastgate.yaml"
    path.write_text(text, encoding="utf-8")
    return load(path, environ or {})


def said(loaded: Loaded, level: Level = Level.ERROR) -> list[str]:
    """Return `line:col path: message` of each problem of a level, without the file."""
    return [
        f"{p.place.removeprefix(loaded.file + ':')} {p.path}: {p.message}"
        for p in loaded.problems
        if p.level is level
    ]


def example(folder: Path) -> str:
    """Return the published example, its secret moved to a file that exists."""
    secret = folder / "introspection"
    secret.write_text("s3cret\n", encoding="utf-8")
    return EXAMPLE.read_text("utf-8").replace(SECRET_PATH, str(secret))
