"""Keys come, go and outlive their issuer; configurations are swapped or kept whole."""

import json
import signal

import pytest
from tests import tokens
from tests.system.gateway import Gateway, running, until, world
from tests.system.load import under_load

pytestmark = pytest.mark.system

PATH = "/orders/1"


def route(path, **more):
    """A public route."""
    return {"path": path, "service": "orders", "token": "none"} | more


async def test_new_key_is_used_at_once_when_tokens_name_it(tmp_path):
    """A rotation under load: whoever comes with a new kid waits for one fetch (F16)."""
    new = tokens.signing_key("ES256", "rotated")
    async with (
        world() as here,
        running(Gateway(tmp_path / "eu", here.document(tmp_path))) as gateway,
    ):
        fetches = here.issuer.fetches
        async with under_load(gateway, tokens.token(region="eu")) as load:
            here.issuer.keys.append(new)
            assert (await gateway.get(PATH, tokens.token(new))).status == 200
            await load.more(5)
        assert here.issuer.fetches == fetches + 1
        assert (load.lost, set(load.statuses)) == (0, {200})


async def test_bogus_kids_cause_one_fetch_and_delay_nobody(tmp_path):
    """The cool-down is the node's, whichever worker is asked (T13)."""
    key = tokens.signing_key()
    async with (
        world() as here,
        running(Gateway(tmp_path / "eu", here.document(tmp_path))) as gateway,
    ):
        fetches = here.issuer.fetches
        for number in range(60):
            bogus = tokens.token(key, header={"kid": f"bogus-{number}"})
            answer = await gateway.get(PATH, bogus)
            assert (answer.status, answer.code) == (401, "invalid_token")
        assert here.issuer.fetches == fetches + 1
        assert (await gateway.get(PATH, tokens.token(region="eu"))).status == 200


@pytest.mark.parametrize("mood", ["bad", "failing", "down"])
async def test_bad_key_set_keeps_the_last_good_keys_with_an_alarm(tmp_path, mood):
    """An issuer's bad day costs nobody a request (F15)."""
    async with (
        world() as here,
        running(Gateway(tmp_path / "eu", here.document(tmp_path))) as gateway,
    ):
        here.issuer.mood = mood
        refreshed = await gateway.admin("POST", "/v1/jwks/refresh", {"wait": "local"})
        assert json.loads(refreshed.body)["login"]["ok"] is False
        assert (await gateway.get(PATH, tokens.token(region="eu"))).status == 200
        alarms = {a["alarm"] for a in (await gateway.status())["alarms"]}
        assert "jwks_unavailable" in alarms
        here.issuer.mood = "good"
        await gateway.admin("POST", "/v1/jwks/refresh", {"wait": "local"})
        assert (await gateway.status())["alarms"] == []


async def test_restart_without_the_issuer_serves_from_the_disk(tmp_path):
    """The last good set was saved; the issuer may be away for a day (I1)."""
    async with world() as here:
        document = here.document(tmp_path)
        async with running(Gateway(tmp_path / "eu", document)) as gateway:
            assert (await gateway.get(PATH, tokens.token(region="eu"))).status == 200
        here.issuer.mood = "down"
        async with running(Gateway(tmp_path / "again", document)) as gateway:
            assert (await gateway.get(PATH, tokens.token(region="eu"))).status == 200
            (keys,) = (await gateway.status())["keys"]
            assert keys["source"] == "disk"


async def test_first_start_without_the_issuer_is_alive_but_not_ready(tmp_path):
    """Nothing saved, nothing known: 503 on routes with tokens, never 401 (I1)."""
    async with world() as here:
        here.issuer.mood = "down"
        document = here.document(tmp_path)
        gateway = Gateway(tmp_path / "eu", document)
        async with running(gateway, ready=False):
            assert (await gateway.probe("/livez")).status == 200
            assert (await gateway.probe("/readyz")).status == 503

            answer = await gateway.get(PATH, tokens.token(region="eu"))
            assert (answer.status, answer.code) == (503, "keys_unavailable")
            assert int(answer.one("retry-after")) > 0
            assert (await gateway.get("/public/1")).status == 200
            here.issuer.mood = "good"
            await gateway.admin("POST", "/v1/jwks/refresh", {"wait": "local"})
            await until(gateway.is_ready, "ready")
            assert (await gateway.get(PATH, tokens.token(region="eu"))).status == 200


async def test_good_reload_is_in_force_on_all_workers_and_loses_nothing(tmp_path):
    """POST /v1/reload swaps whole snapshots under load (F23)."""
    async with world() as here:
        document = here.document(tmp_path)
        async with running(Gateway(tmp_path / "eu", document)) as gateway:
            async with under_load(gateway, tokens.token(region="eu")) as load:
                assert (await gateway.get("/new/1")).status == 404
                gateway.write(
                    document | {"routes": [*document["routes"], route("/new/")]}
                )
                answer = await gateway.admin("POST", "/v1/reload")
                assert (answer.status, json.loads(answer.body)["result"]) == (
                    200,
                    "success",
                )
                await until(lambda: followed(gateway), "every worker follows")
                for _ in range(12):
                    assert (await gateway.get("/new/1")).status == 200
                await load.more(5)
            assert (load.lost, set(load.statuses)) == (0, {200})


async def followed(gateway):
    """Whether every worker is at the agent's configuration."""
    status = await gateway.status()
    return all(w["up"] and w["current"] for w in status["workers"])


async def test_bad_reload_changes_nothing_and_says_why(tmp_path):
    """The caller gets every problem with its place; the old configuration serves on."""
    async with world() as here:
        document = here.document(tmp_path)
        async with running(Gateway(tmp_path / "eu", document)) as gateway:
            before = (await gateway.status())["config"]
            gateway.write(document | {"routes": [route("/public/", service="mars")]})
            answer = await gateway.admin("POST", "/v1/reload")
            assert answer.status == 422
            problem = json.loads(answer.body)
            assert problem["result"] == "failure"
            errors = [p for p in problem["problems"] if p["level"] == "error"]
            assert any("mars" in p["message"] and p["line"] > 1 for p in errors)
            after = (await gateway.status())["config"]
            assert (after["version"], after["hash"]) == (
                before["version"],
                before["hash"],
            )
            assert after["reloads"] == {"success": 0, "failure": 1}
            assert (await gateway.get(PATH, tokens.token(region="eu"))).status == 200


async def test_reload_by_signal_takes_good_files_and_refuses_bad_ones(tmp_path):
    """SIGHUP: the outcome is in the log and in status; the process goes on."""
    async with world() as here:
        document = here.document(tmp_path)
        async with running(Gateway(tmp_path / "eu", document)) as gateway:

            async def reloads(result):
                return (await gateway.status())["config"]["reloads"][result] == 1

            gateway.path.write_text("routes: [", "utf-8")
            gateway.send(signal.SIGHUP)
            await until(lambda: reloads("failure"), "refused")
            gateway.write(document | {"routes": [*document["routes"], route("/new/")]})
            gateway.send(signal.SIGHUP)
            await until(lambda: reloads("success"), "taken")
            await until(lambda: followed(gateway), "every worker follows")
            assert (await gateway.get("/new/1")).status == 200


async def test_reload_refuses_what_only_a_restart_can_change(tmp_path):
    """Sockets and shared memory were made from it."""
    async with world() as here:
        document = here.document(tmp_path)
        async with running(Gateway(tmp_path / "eu", document)) as gateway:
            gateway.write(document | {"workers": 3})
            answer = await gateway.admin("POST", "/v1/reload")
            assert answer.status == 422
            assert "workers: changes only with a restart" in answer.body.decode()
