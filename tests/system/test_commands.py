"""The verbs of the command line against a running gateway."""

import json

import pytest
from tests import tokens
from tests.system.gateway import Gateway, command, running, until, world

pytestmark = pytest.mark.system

PATH = "/orders/1"


async def test_verbs_show_and_change_a_running_gateway(tmp_path):
    """status, keys, explain and revoke find it by its configuration."""
    token = tokens.token(region="eu")
    async with (
        world() as here,
        running(Gateway(tmp_path / "eu", here.document(tmp_path))) as gateway,
    ):
        env = {"FASTGATE_CONFIG": str(gateway.path)}
        status = (await command("status", "--json", env=env)).document
        assert (status["region"], status["ready"]) == ("eu", True)
        assert [worker["up"] for worker in status["workers"]] == [True, True]

        fetches = here.issuer.fetches
        (issuer,) = (await command("keys", "--refresh", "--json", env=env)).document
        assert [key["kid"] for key in issuer["keys"]] == ["es256-1"]
        assert here.issuer.fetches == fetches + 1

        explain = ("explain", "-", "--path", PATH, "--json")
        said = await command(*explain, env=env, stdin=token)
        assert said.code == 0, said.err
        assert said.document["verdict"] == "allow"
        assert (said.document["region"], said.document["route"]) == ("eu", "orders")

        revoke = ("revoke", "--sid", "s-1234567890", "--issuer", "login")
        said = await command(*revoke, "--wait", "--json", env=env)
        assert said.code == 0, said.err
        assert said.document["complete"]
        assert (await gateway.get(PATH, token)).status == 401
        said = await command(*explain, env=env, stdin=token)
        assert (said.document["verdict"], said.document["reason"]) == (
            "deny",
            "revoked",
        )
        audit = (tmp_path / "state" / "audit.jsonl").read_text("utf-8")
        actions = [json.loads(line)["action"] for line in audit.splitlines()]
        assert "revoke" in actions
        assert "s-1234567890" not in audit


async def test_healthcheck_tells_alive_from_ready(tmp_path):
    """A container without its issuer is not restarted, and gets no traffic."""
    async with world() as here:
        here.issuer.mood = "down"
        document = here.document(tmp_path)
        gateway = Gateway(tmp_path / "eu", document)
        place = ("--status", document["status"])
        async with running(gateway, ready=False):
            assert (await command("healthcheck", *place)).code == 0
            said = await command("healthcheck", "--ready", *place, "--json")
            assert (said.code, said.document["ok"]) == (1, False)
            here.issuer.mood = "good"
            assert (await command("keys", "--refresh", env=env_of(gateway))).code == 0
            await until(gateway.is_ready, "every worker has the keys")
            assert (await command("healthcheck", "--ready", *place)).code == 0
        assert (await command("healthcheck", *place)).code == 1


def env_of(gateway):
    """The environment in which the verbs find a gateway."""
    return {"FASTGATE_CONFIG": str(gateway.path)}


async def test_verb_fails_with_69_where_nobody_answers(tmp_path):
    """A dependency that is away is no fault of the question."""
    async with world() as here:
        gateway = Gateway(tmp_path / "eu", here.document(tmp_path))
        said = await command("status", env=env_of(gateway))
        assert said.code == 69
        assert gateway.document["admin"] in said.err


async def test_admin_token_is_asked_for_and_found_in_the_configuration(tmp_path):
    """The verbs send it; without it the API tells nobody anything."""
    async with world() as here:
        document = here.document(tmp_path, admin_token="0123456789abcdef-secret")
        async with running(Gateway(tmp_path / "eu", document)) as gateway:
            assert (await gateway.admin("GET", "/v1/status")).status == 401
            assert (await command("status", "--json", env=env_of(gateway))).code == 0
