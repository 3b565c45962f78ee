"""Gateway: the generated configuration is one that `check` accepts."""

import pytest

from fastgate.config.load import load
from fastgate.config.problems import Level
from fastgate.demo.gateway import Gateway, gateway_config
from fastgate.demo.world import REGIONS, Ports

SECRETS = {"introspection.secret": "s" * 24, "hash.key": "k" * 24}


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("nats", [True, False], ids=["nats", "local"])
def test_configuration_is_accepted_by_check(tmp_path, region, nats):
    """No error, and no warning but those on the debug headers that the tour reads."""
    ports = Ports(18080)
    gateway = Gateway(region, ports, tmp_path)
    gateway.write(gateway_config(region, ports, tmp_path, nats=nats), SECRETS)
    loaded = load(str(gateway.config))
    assert loaded.errors == ()
    warned = [each for each in loaded.problems if each.level is Level.WARN]
    assert [each.path for each in warned if not each.path.endswith(".debug")] == []
    assert loaded.require().region == region


def test_secrets_are_beside_the_configuration_and_not_in_it(tmp_path):
    """Only their owner reads them."""
    ports = Ports(18080)
    gateway = Gateway("eu", ports, tmp_path)
    gateway.write(gateway_config("eu", ports, tmp_path, nats=True), SECRETS)
    text = gateway.config.read_text()
    for name, secret in SECRETS.items():
        assert secret not in text
        assert (tmp_path / name).stat().st_mode & 0o077 == 0
