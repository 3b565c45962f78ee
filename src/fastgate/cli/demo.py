"""Demo: `fastgate demo` runs three regions on loopback and a tour through them.

Owns:      what is printed, the exit code, and how a signal ends it all.
Called by: cli.main.
Source:    ECOSYSTEM.md section 10, DESIGN.md section 10.
"""

import asyncio
import contextlib
import io
import signal
import sys
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastgate.cli.output import (
    EXIT_FAILURE,
    EXIT_UNAVAILABLE,
    EXIT_USAGE,
    fail,
    print_json,
    print_line,
    working,
)

if TYPE_CHECKING:
    from fastgate.demo.regions import Regions
    from fastgate.demo.tour import Outcome

__all__ = ["command"]

command = typer.Typer(invoke_without_command=True)

_ENDINGS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_KINDS = {"jwt": "web-app", "opaque": "phone-app", "wrapped": "tv-app"}
# Reason: the last region and the transit server are counted from it.
_HIGHEST_BASE = 65_000
_LOWEST_BASE = 1_024


@command.callback()
def demo(
    context: typer.Context,
    headless: Annotated[
        bool, typer.Option("--headless", help="Take the tour, then end.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the tour's outcome as JSON.")
    ] = False,
    step: Annotated[
        list[str] | None,
        typer.Option("--step", help="Take this step only; may be repeated."),
    ] = None,
    base_port: Annotated[
        int | None,
        typer.Option(
            "--base-port",
            min=_LOWEST_BASE,
            max=_HIGHEST_BASE,
            help="First port (us +100, ap +200, transit +300); unset: free ones.",
        ),
    ] = None,
    delay: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=10.0,
            help="Scale of the delay between regions; 1: 90, 140 and 170 ms a round.",
        ),
    ] = 1.0,
    bus: Annotated[
        str | None,
        typer.Option(
            help="nats or local; unset: nats where nats-server is found.",
            metavar="BUS",
        ),
    ] = None,
) -> None:
    """Run three regions on loopback and a guided tour; Ctrl-C stops everything.

    Each region has a gateway, an identity provider, an API and a bus server. With
    --headless it ends after the tour: 0 only if every step holds.

    Example: fastgate demo --base-port 18080
    """
    if context.invoked_subcommand is not None:
        return
    from fastgate.demo.tour import STEPS

    unknown = [name for name in step or () if name not in STEPS]
    if unknown:
        fail(f"no step {unknown[0]}; known: {', '.join(STEPS)}", EXIT_USAGE)
    if bus not in {None, "nats", "local"}:
        fail(f"no bus {bus}; known: nats, local", EXIT_USAGE)
    show = _Show(headless=headless, as_json=as_json)
    job = show.run(step or (), base_port=base_port, delay_scale=delay, bus=bus)
    raise typer.Exit(_run(job))


@command.command("token")
def token(
    user: Annotated[str, typer.Argument(help="alice, bob or chie.")],
    kind: Annotated[
        str, typer.Option(help="jwt, opaque or wrapped.", metavar="KIND")
    ] = "jwt",
    base_port: Annotated[
        int | None,
        typer.Option("--base-port", help="That of the demo; unset: the one running."),
    ] = None,
) -> None:
    """Print an access token from the running demo's identity provider.

    Example: curl -H "Authorization: Bearer $(fastgate demo token bob)" ...
    """
    from fastgate.demo.regions import running_base
    from fastgate.demo.visitor import Visitor
    from fastgate.demo.world import USERS, Ports
    from fastgate.errors import UpstreamError

    if user not in USERS:
        fail(f"no user {user}; known: {', '.join(USERS)}", EXIT_USAGE)
    if kind not in _KINDS:
        fail(f"no kind {kind}; known: {', '.join(_KINDS)}", EXIT_USAGE)
    base = running_base() if base_port is None else base_port
    if base is None:
        fail("no demo is running; start one: fastgate demo", EXIT_UNAVAILABLE)
    home = USERS[user]
    issuer = Ports(base).url(home, "issuer")

    async def ask() -> str:
        async with Visitor() as visitor:
            tokens = await visitor.sign_in(issuer, user, _KINDS[kind], home=home)
            return tokens.access

    try:
        print(asyncio.run(ask()))
    except UpstreamError:
        fail(f"no demo answers at {issuer}; see --base-port", EXIT_UNAVAILABLE)


def _run(job: Coroutine[Any, Any, int]) -> int:
    """Run a job until it ends or a signal ends it; returns the exit code."""
    import uvloop

    async def bounded() -> int:
        loop = asyncio.get_running_loop()
        task = loop.create_task(job)

        def end() -> None:
            # Once: a second signal must not cut short what the first one tidies up.
            for signum in _ENDINGS:
                loop.add_signal_handler(signum, _ignore)
            task.cancel()

        for signum in _ENDINGS:
            loop.add_signal_handler(signum, end)
        try:
            return await task
        except asyncio.CancelledError:
            return EXIT_FAILURE

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(bounded())


def _ignore() -> None:
    """Do nothing: the end has begun."""


class _Show:
    """What a person or a program sees of the demo."""

    def __init__(self, *, headless: bool, as_json: bool) -> None:
        self._headless = headless
        self._as_json = as_json

    async def run(
        self,
        names: Sequence[str],
        *,
        base_port: int | None,
        delay_scale: float,
        bus: str | None,
    ) -> int:
        """Start the regions, take the tour, stay if asked to; returns the exit code."""
        from fastgate.demo.regions import running
        from fastgate.demo.tour import report, steps_of, walk

        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")  # a terminal may lack the ticks
        async with contextlib.AsyncExitStack() as stack:
            with working("Starting three regions"):
                regions = await stack.enter_async_context(
                    running(base_port=base_port, delay_scale=delay_scale, bus=bus)
                )
            self._greet(regions)
            able = steps_of(regions.bus)
            missing = [name for name in names if name not in able]
            if missing:
                fail(f"step {missing[0]} needs NATS: pip install 'fastgate[demo]'")
            outcomes = await self._tour(walk(regions, names or able), names or able)
            document = report(outcomes, regions.bus)
            if self._as_json:
                print_json(document)
                sys.stdout.flush()
            code = 0 if document["ok"] else EXIT_FAILURE
            if not self._headless:
                await self._stay(regions)
        return code

    async def _tour(
        self, steps: AsyncIterator["Outcome"], names: Sequence[str]
    ) -> list["Outcome"]:
        outcomes: list[Outcome] = []
        for number, name in enumerate(names, 1):
            with working(name):
                outcome = await anext(steps)
            outcomes.append(outcome)
            tick, style = ("✔", "green") if outcome.ok else ("✘", "bold red")
            self._say(
                (f"{number:>2} ", "dim"),
                (f"{tick} ", style),
                (f"{outcome.name:<18}", "bold"),
                (f" {outcome.detail}", ""),
            )
        return outcomes

    def _greet(self, regions: "Regions") -> None:
        ports = regions.ports
        names = ("gateway", "issuer", "api", "bus", "admin", "status")
        for region, gateway in regions.gateways.items():
            shown = " ".join(
                f"{name} :{ports.of(region, name)}"
                for name in names
                if name != "bus" or regions.bus == "nats"
            )
            self._say(
                (f" {region}", "bold"),
                (f"  {shown}  ready {gateway.ready_s:.1f} s", ""),
            )
        said = "nats, one server a region, linked through transit"
        if regions.bus == "local":
            said = "local: no server between the regions, so no link can be cut"
        self._say((f" bus {said}; logs {regions.folder}", "dim"))

    async def _stay(self, regions: "Regions") -> None:
        gateway = regions.ports.url("eu", "gateway")
        admin = regions.ports.of("eu", "admin")
        self._say(
            (
                ' try: curl -si -H "Authorization: Bearer $(fastgate demo token bob)"',
                "",
            ),
            (f" {gateway}/orders/1", ""),
        )
        self._say((f"      fastgate status --admin 127.0.0.1:{admin}", ""))
        self._say((" Ctrl-C stops everything", "dim"))
        sys.stdout.flush()
        with contextlib.suppress(asyncio.CancelledError):
            # The signal's cancellation is how staying ends.
            await asyncio.Event().wait()

    def _say(self, *parts: tuple[str, str]) -> None:
        if not self._as_json:
            print_line(*parts)
