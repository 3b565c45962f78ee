"""What cannot start says once what is wrong and what to do, and ends with a code."""

import json
import shutil
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

import pytest
from tests.system.gateway import Gateway, command, running, world

import fastgate

pytestmark = pytest.mark.system


async def serve(folder, document, **env):
    """Run `fastgate serve` on a configuration; it is expected to end by itself."""
    path = folder / "fastgate.yaml"
    path.write_text(json.dumps(document), "utf-8")
    return await command("serve", str(path), env=env)


def installed(folder, *, without):
    """A copy of the package that lacks one compiled module; returns its folder."""

    def missing(_, names):
        suffixes = tuple(without + suffix for suffix in EXTENSION_SUFFIXES)
        return [name for name in names if name in {*suffixes, "__pycache__"}]

    package = Path(fastgate.__file__).parent
    shutil.copytree(package, folder / "site" / "fastgate", ignore=missing)
    return str(folder / "site")


@pytest.mark.parametrize("module", ["token", "revocations", "counters", "decisions"])
async def test_missing_extension_is_a_start_error_that_says_what_to_do(
    tmp_path, module
):
    """There is no slow twin to fall back to."""
    async with world() as here:
        site = installed(tmp_path, without=module)
        said = await serve(tmp_path, here.document(tmp_path), PYTHONPATH=site)
    assert said.code == 1
    assert said.err.startswith("fastgate: the compiled modules of fastgate are missing")
    assert "pip install ." in said.err
    assert "Traceback" not in said.err


async def test_gate_that_is_not_compiled_is_a_start_error(tmp_path):
    """Its source is Python, and would run: slowly, and untested in that way."""
    async with world() as here:
        site = installed(tmp_path, without="gate")
        said = await serve(tmp_path, here.document(tmp_path), PYTHONPATH=site)
    assert said.code == 1
    assert said.err.startswith("fastgate: the gate is not compiled")
    assert "pip install ." in said.err


async def test_missing_parser_of_aiohttp_is_a_start_error(tmp_path):
    """The slow one reads requests in its own way, which nobody tested here."""
    async with world() as here:
        said = await serve(tmp_path, here.document(tmp_path), AIOHTTP_NO_EXTENSIONS="1")
    assert said.code == 1
    assert said.err.startswith("fastgate: aiohttp has no C parser")
    assert "unset AIOHTTP_NO_EXTENSIONS" in said.err
    assert "Traceback" not in said.err


async def test_missing_nats_client_is_a_start_error_that_names_the_extra(tmp_path):
    """Nothing else needs it, so it is an extra; without a bus it is not missed."""
    (tmp_path / "nats.py").write_text(
        'raise ModuleNotFoundError("no nats", name="nats")', "utf-8"
    )
    path = f"{tmp_path}:{Path(fastgate.__file__).parents[1]}"
    async with world() as here:
        document = here.document(tmp_path)
        document["revocation"]["bus"] = "nats://127.0.0.1:4222"
        said = await serve(tmp_path, document, PYTHONPATH=path)
    assert said.code == 1
    assert 'pip install "fastgate[nats]"' in said.err
    assert "Traceback" not in said.err


async def test_bad_configuration_exits_78_with_every_error_and_its_place(tmp_path):
    """Nothing was bound, nothing was made, everything wrong is said at once."""
    async with world() as here:
        document = here.document(tmp_path)
        document["regions"]["default"] = "mars"
        document["routs"] = []
        path = tmp_path / "fastgate.yaml"
        path.write_text(json.dumps(document, indent=1), "utf-8")
        said = await command("serve", str(path))
    assert said.code == 78
    lines = [line for line in said.err.splitlines() if line.startswith(str(path))]
    lines = [line for line in lines if "error" in line]
    assert len(lines) == 2
    assert any("routs" in line and "routes" in line for line in lines)
    assert any("mars" in line for line in lines)
    assert not (tmp_path / "state").exists()


async def test_port_that_is_taken_is_a_start_error(tmp_path):
    """The status port is the issuer's here."""
    async with world() as here:
        document = here.document(tmp_path, status=here.issuer.base[len("http://") :])
        said = await serve(tmp_path, document)
    assert said.code == 1
    assert document["status"] in said.err
    assert "another process listens there" in said.err
    assert "Traceback" not in said.err


async def test_state_folder_of_another_gateway_is_refused(tmp_path):
    """Two journals in one folder would give one number to two events."""
    async with world() as here:
        first = Gateway(tmp_path / "first", here.document(tmp_path))
        async with running(first):
            second = Gateway(tmp_path / "second", here.document(tmp_path))
            second.launch()
            assert await second.until_end() == 1
            assert second.named("cannot start")[0]["reason"] == (
                f"state_dir {tmp_path}/state is in use: give each gateway its own"
            )
            assert (await first.get("/public/1")).status == 200
