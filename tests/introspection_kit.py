"""A worker's introspection object with everything around it faked."""

import random
from typing import Any

import orjson
from tests.key_fakes import Alarms, Endpoint, ManualTime, answer, steady
from tests.lane_kit import issuer_profile
from tests.tokens import token

from fastgate.control.introspection import IntrospectionLimits, Introspections
from fastgate.domain.introspection import IntrospectionAnswer
from fastgate.domain.token import Introspection
from fastgate.ports import FailureLimiter

URLS = ("https://eu.example.com/introspect", "https://us.example.com/introspect")
HOW = Introspection(URLS[:1], "gateway", "s3cret")
OPAQUE = b"_0XBPWQQ_opaque"
ACTIVE = answer(orjson.dumps({"active": True, "sub": "bob", "jti": "j"}))
INACTIVE = answer(b'{"active":false}')
PHANTOM = answer(token(now=1_800_000_000), content_type="application/jwt")


class Worker:
    """Asks one issuer about tokens.

    say: As for tests.key_fakes.Endpoint. limits: Of IntrospectionLimits.
    failures, workers: As for Introspections.
    """

    def __init__(
        self,
        say: Any = ACTIVE,
        *,
        how: Introspection | None = HOW,
        rng: random.Random | None = None,
        failures: FailureLimiter | None = None,
        workers: int = 1,
        **limits: int,
    ) -> None:
        self.time = ManualTime()
        self.endpoint = Endpoint(say)
        self.alarms = Alarms()
        self.issuer = issuer_profile(introspection=how)
        self.asking = Introspections(
            fetcher=self.endpoint,
            clock=self.time,
            alarms=self.alarms,
            rng=rng or steady(),
            limits=IntrospectionLimits(**limits),
            failures=failures,
            workers=workers,
        )

    async def ask(
        self, opaque: bytes = OPAQUE, region: int = 0, **rest: Any
    ) -> IntrospectionAnswer:
        """Ask as a lane does."""
        return await self.asking.ask(self.issuer, opaque, region, **rest)

    def cached(self, opaque: bytes = OPAQUE, **rest: int) -> IntrospectionAnswer | None:
        """Look as a lane does."""
        return self.asking.cached(self.issuer, opaque, self.time.boot_ns(), **rest)

    @property
    def calls(self) -> int:
        """How many questions reached the issuer."""
        return len(self.endpoint.calls)
