"""`fastgate bench` from outside: what it prints, writes and exits with."""

import asyncio
import json
import subprocess
import sys

import pytest
from tests.bench.slow_server import answer, slow_server

from fastgate_bench import NAMES


async def bench(*arguments, stdin=None):
    """Run `fastgate bench ARGUMENTS`; returns code, what it printed, and its errors."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "fastgate", "bench", *arguments),
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(100):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, out.decode(), err.decode()


def budget(folder, text):
    """Write a budget file; returns its path."""
    path = folder / "mine.yaml"
    path.write_text(text, "utf-8")
    return str(path)


async def test_bench_decision_prints_writes_and_keeps_a_generous_budget(tmp_path):
    """The whole way: stages, verdict, JSON, and a page."""
    limits = budget(tmp_path, "decision: {never-seen: {p50: 1s}, scan: {p50: 1s}}")
    out = tmp_path / "out"
    code, text, err = await bench(
        *("decision", "--quick", "--json", "--budget", limits, "--out", str(out))
    )
    assert (code, err) == (0, "")
    document = json.loads(text)
    assert document.keys() >= {"name", "ok", "figures", "machine", "commit"}
    assert (document["name"], document["ok"]) == ("decision", True)
    for figure in document["figures"]:
        assert figure.keys() >= {"metric", "value", "unit", "budget", "ok"}
        assert figure["value"] > 0
    stages = {figure["metric"].split()[0] for figure in document["figures"]}
    assert stages == {
        *("scan", "scan-4k", "sha256", "index", "seen", "verify", "never-seen")
    }
    assert document["machine"]["kernel"]
    assert json.loads((out / "decision.json").read_bytes()) == document
    assert "<svg" in (out / "decision.html").read_text("utf-8")


async def test_bench_exits_with_99_when_a_budget_is_missed(tmp_path):
    """Nothing takes a nanosecond; CI must see that."""
    limits = budget(tmp_path, "decision: {never-seen: {p50: 1ns}}")
    code, text, _ = await bench("decision", "--quick", "--json", "--budget", limits)
    assert code == 99
    document = json.loads(text)
    assert document["ok"] is False
    missed = [figure for figure in document["figures"] if not figure["ok"]]
    assert [figure["metric"] for figure in missed] == ["never-seen p50"]


async def test_bench_relay_measures_any_url(tmp_path):
    """A server that is no fastgate, its own token, its own budget."""
    tokens = tmp_path / "tokens"
    tokens.write_text("secret-one\n", "ascii")
    limits = budget(tmp_path, "relay: {target: {p50: 10s}}")

    def script(_number, _tag):
        return [answer(b"", 204).replace(b"Content-Length: 2\r\n\r\nok", b"\r\n")]

    async with slow_server(script=script) as server:
        code, text, err = await bench(
            *("relay", "--target", f"http://127.0.0.1:{server.port}/a?b=c"),
            *("--token-file", str(tokens), "--status", "204", "--rate", "100"),
            *("--seconds", "0.3", "--rounds", "3", "--quick", "--json"),
            *("--budget", limits),
        )
    assert all(head.startswith(b"GET /a?b=c HTTP/1.1") for head in server.heads)
    assert all(b"Bearer secret-one\r\n" in head for head in server.heads)
    assert "secret" not in text + err
    document = json.loads(text)
    figures = {figure["metric"]: figure for figure in document["figures"]}
    # On a machine that is busy the generator may have been late: then it says so.
    if code == 0:
        assert figures["target p50"]["value"] > 0
    else:
        assert code == 99
        assert "load generator" in figures["target"]["why"]


async def test_bench_relay_gives_no_figure_for_wrong_answers(tmp_path):
    """A server that refuses quickly is not fast."""
    limits = budget(tmp_path, "relay: {target: {p50: 10s}}")
    async with slow_server(script=lambda _, tag: [answer(tag, 401)]) as server:
        code, text, _ = await bench(
            *("relay", "--target", f"http://127.0.0.1:{server.port}/"),
            *("--rate", "100", "--seconds", "0.3", "--quick", "--json"),
            *("--budget", limits),
        )
    assert code == 99
    (figure,) = [f for f in json.loads(text)["figures"] if not f["ok"]]
    assert figure["value"] is None
    assert "401: 30" in figure["why"]


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (["nothing"], 2, "no bench `nothing`; there are decision, relay"),
        (["decision", "--target", "http://127.0.0.1/"], 2, "bench relay"),
        (["relay", "--target", "ftp://x/", "--quick"], 78, "write http://host:port"),
        (["decision", "--budget", "/nowhere"], 78, "No such file"),
        (["decision", "--quick", "--results", "/nowhere"], 2, "keeps full runs"),
    ],
)
async def test_bench_says_in_one_line_what_is_wrong(arguments, code, why):
    """Nothing is measured before what was asked for is understood."""
    found, out, err = await bench(*arguments)
    assert (found, out) == (code, "")
    assert why in err
    assert len(err.splitlines()) == 1


async def test_bench_names_what_it_needs_where_the_extra_is_absent(tmp_path):
    """Without HdrHistogram there is a line with the command, not a traceback."""
    (tmp_path / "hdrh").mkdir()
    (tmp_path / "hdrh" / "__init__.py").write_text(
        "raise ModuleNotFoundError('no', name='hdrh')", "utf-8"
    )
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); "
        "sys.argv = ['fastgate', 'bench', 'decision']; "
        "from fastgate.cli.main import run; run()"
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code), stderr=subprocess.PIPE
    )
    _, err = await process.communicate()
    assert process.returncode == 1
    assert err.decode() == "fastgate: bench needs hdrh: pip install 'fastgate[bench]'\n"


@pytest.mark.system
@pytest.mark.timeout(120)  # a dozen processes, which share the cores with other tests
@pytest.mark.parametrize(
    ("name", "stages"),
    [
        (
            "relay",
            {
                *("maximum", "direct", "seen", "away", "gateway", "idle-connection"),
                *("busy-download", "busy-upload", "calm", "idle-crowd", "slow-crowd"),
                *("idle-crowd-refused", "slow-crowd-refused"),
            },
        ),
        (
            "revocation",
            {"lookup-1k", "apply", "apply-frames", "event-bytes", "restore"}
            | {"revoke-refused", "revoke-answered", "revoke-near", "revoke-across"}
            | {"revoke-urgent", "revoke-healed"},
        ),
    ],
)
async def test_bench_measures_a_gateway_of_its_own(tmp_path, name, stages):
    """From nothing to figures, whatever they are on this machine."""
    arguments = (name, "--quick", "--seconds", "0.2", "--json", "--out", str(tmp_path))
    code, text, err = await bench(*arguments)
    assert code in {0, 99}, err
    document = json.loads(text)
    assert document["ok"] is (code == 0)
    measured = {figure["metric"].split()[0] for figure in document["figures"]}
    assert measured >= stages
    wrong = [f for f in document["figures"] if "wrong answers" in f.get("why", "")]
    assert wrong == []
    assert (tmp_path / f"{name}.html").stat().st_size > 5_000


async def test_bench_help_names_every_bench():
    """What can be run can be found."""
    code, out, _ = await bench("--help")
    assert code == 0
    assert all(name in out for name in NAMES)
