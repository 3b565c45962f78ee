"""The bus that a configuration names is the one that is built."""

import importlib
from pathlib import Path

import pytest
from tests.config.documents import BASE, load_text
from tests.feed_fakes import FakeJournal

from fastgate.config.model import Config
from fastgate.errors import StartError
from fastgate.wiring.buses import build_bus, kafka_settings, redis_settings
from fastgate.wiring.installation import check_installation

KEY = "hash_key: 0123456789abcdef"


def configured(folder: Path, revocation: str) -> Config:
    loaded = load_text(folder, f"{BASE}revocation: {{{revocation}}}\n")
    assert loaded.config is not None, loaded.problems
    return loaded.config


@pytest.mark.parametrize(
    ("revocation", "name"),
    [
        ("bus: local", "local"),
        (f"bus: 'nats://127.0.0.1', {KEY}", "nats"),
        (f"bus: 'redis://127.0.0.1', {KEY}", "redis"),
        (f"bus: 'kafka://127.0.0.1', {KEY}", "kafka"),
    ],
)
def test_scheme_of_the_url_chooses_the_bus(tmp_path, revocation, name):
    """The URL alone says which adapter is built."""
    config = configured(tmp_path, revocation)
    check_installation(config)
    assert build_bus(config, FakeJournal("gw"), 3_600).name == name


@pytest.mark.parametrize("technology", ["nats", "redis", "kafka"])
def test_absent_extra_is_a_start_error_that_names_it(tmp_path, monkeypatch, technology):
    """In a child it would come too late, and a missing module is no explanation."""
    config = configured(tmp_path, f"bus: '{technology}://127.0.0.1', {KEY}")

    def absent(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {technology!r}", name=technology)

    monkeypatch.setattr(importlib, "import_module", absent)
    with pytest.raises(StartError, match=rf'pip install "fastgate\[{technology}\]"'):
        check_installation(config)


def test_redis_is_reached_as_configured(tmp_path):
    """Every setting of the section arrives at the adapter."""
    settings = redis_settings(
        configured(
            tmp_path,
            f"bus: 'rediss://r.example:6380', {KEY}, capacity: 1000,"
            " tls: {ca: /ca, certificate: /cert, key: /key}, redis: {user: gw,"
            " password: secret, prefix: shop, copies: 2, max_bytes: 1MiB}",
        )
    )
    assert settings.url == "rediss://r.example:6380"
    assert (settings.user, settings.password) == ("gw", "secret")
    files = (settings.ca, settings.certificate, settings.key)
    assert files == (Path("/ca"), Path("/cert"), Path("/key"))
    assert (settings.prefix, settings.copies) == ("shop", 2)
    assert settings.max_bytes == 1 << 20


def test_kafka_is_reached_as_configured(tmp_path):
    """Every setting of the section arrives at the adapter."""
    settings = kafka_settings(
        configured(
            tmp_path,
            f"bus: 'kafkas://[::1]:9093', {KEY}, tls: {{ca: /ca}},"
            " kafka: {user: gw, password: secret, mechanism: SCRAM-SHA-256,"
            " prefix: shop, replicas: 3, copies: 2, retention: 2d}",
        ),
        longest_s=50_000,
    )
    assert settings.servers == ("[::1]:9093",)
    assert (settings.tls, settings.ca) == (True, Path("/ca"))
    assert (settings.user, settings.password) == ("gw", "secret")
    assert settings.mechanism == "SCRAM-SHA-256"
    assert (settings.prefix, settings.replicas, settings.copies) == ("shop", 3, 2)
    assert (settings.max_age_s, settings.least_age_s) == (172_800, 50_000)


def test_unusable_certificates_of_the_bus_are_a_start_error(tmp_path):
    """The operator is told which section, before anything starts."""
    config = configured(tmp_path, f"bus: 'tls://127.0.0.1', {KEY}, tls: {{ca: /none}}")
    with pytest.raises(StartError, match=r"revocation\.tls: No such"):
        build_bus(config, FakeJournal("gw"), 3_600)
