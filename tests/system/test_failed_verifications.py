"""A client that fails too often is told so, by the figures of the configuration."""

import json
import time
from typing import Any

import pytest
from tests import tokens
from tests.system.gateway import Gateway, running, until, world

pytestmark = pytest.mark.system

PATH = "/orders/1"
OTHER = tokens.SigningKey("ES256", "es256-1")  # the issuer's kid, and another key


async def failures(gateway: Gateway) -> tuple[int, float]:
    """Fail until that is a 429; returns how many were looked at, and the seconds."""
    began = time.monotonic()
    for looked_at in range(1_000):
        answer = await gateway.get(PATH, tokens.token(OTHER, jti=f"j-{looked_at}"))
        if answer.status == 429:
            assert (answer.code, answer.one("retry-after")) == (
                "too_many_requests",
                "1",
            )
            return looked_at, time.monotonic() - began
        assert (answer.status, answer.code) == (401, "invalid_token")
    raise AssertionError("there is no end to it")


async def test_limit_of_the_configuration_holds_and_is_reloaded(tmp_path):
    """One worker: its burst and a second's worth each second, and known tokens pass."""
    async with world() as here:
        document = here.document(tmp_path, workers=1)
        document["limits"] = {"failed_verifications": 1, "failed_verification_burst": 4}
        async with running(Gateway(tmp_path / "eu", document)) as gateway:
            known = tokens.token(region="eu")
            assert (await gateway.get(PATH, known)).status == 200
            looked_at, seconds = await failures(gateway)
            assert 4 <= looked_at <= 4 + seconds + 1
            assert (await gateway.get(PATH, known)).status == 200
            refused = 'fastgate_token_checks_total{kind="jwt",result="%s"}'
            counts = await gateway.counts()
            assert counts[refused % "too_many_failures"] == 1
            assert counts[refused % "bad_signature"] == looked_at
            await until(
                lambda: (
                    "too_many_failures" in {each["reason"] for each in gateway.access()}
                ),
                "the access line of the 429",
            )
            document["limits"]["failed_verification_burst"] = 40
            gateway.write(document)
            answer = await gateway.admin("POST", "/v1/reload")
            assert answer.status == 200, answer.body

            async def reloaded() -> bool:
                return (await failures(gateway))[0] >= 40

            await until(reloaded, "the new burst")


async def test_explanation_tells_a_forged_token_and_refuses_nobody(tmp_path):
    """It comes from no client, so it counts nothing, and says what a worker would."""
    async with world() as here:
        document = here.document(tmp_path, workers=1)
        document["limits"] = {"failed_verifications": 7, "failed_verification_burst": 9}
        async with running(Gateway(tmp_path / "eu", document)) as gateway:
            forged = tokens.token(OTHER).decode()
            asked = {"token": forged, "method": "GET", "path": PATH}

            async def explained() -> dict[str, Any]:
                answer = await gateway.admin("POST", "/v1/explain", asked)
                document: dict[str, Any] = json.loads(answer.body)
                return document

            async def has_keys() -> bool:
                return (await explained())["reason"] != "keys_unavailable"

            await until(has_keys, "the agent reads the keys that it published")
            for _ in range(12):
                said = await explained()
                assert said["reason"] == "bad_signature"
            steps = {step["step"]: step["outcome"] for step in said["steps"]}
            assert steps["signature"] == "bad_signature"
            assert "9 failed verifications of a client, and 7 more" in steps["failures"]
