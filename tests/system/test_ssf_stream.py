"""A stream of security events over a real gateway: made, and tried from end to end."""

import asyncio
import contextlib
import json
import time

from aiohttp import web
from tests.intake_kit import SSF, signed
from tests.system.gateway import Gateway, command, free_ports, running, until, world

AUDIENCE = "https://gateway.example.com"


class Transmitter:
    """Keeps one stream; `deliver` sends the verification events that were asked for."""

    def __init__(self):
        self.base = ""
        self.streams = []
        self.asked = asyncio.Queue()

    async def handle(self, request):
        path = request.rel_url.path
        if path == "/.well-known/ssf-configuration":
            said = {"issuer": self.base}
            for name in ("configuration", "status", "verification"):
                said[f"{name}_endpoint"] = f"{self.base}/{name}"
            return web.json_response(said)
        assert request.headers["Authorization"] == "Bearer manage"
        if path == "/verification":
            self.asked.put_nowait(json.loads(await request.read()))
            return web.Response(status=204)
        if path == "/status":
            return web.json_response({"status": "enabled"})
        if request.method == "GET":
            return web.json_response(self.streams)
        made = json.loads(await request.read())
        self.streams.append(made | {"stream_id": "stream-1", "aud": AUDIENCE})
        return web.json_response(self.streams[-1], status=201)

    async def deliver(self, port, credential):
        """Push the next verification event to where the stream delivers."""
        asked = await self.asked.get()
        claims = {
            "iss": self.base,
            "aud": AUDIENCE,
            "iat": int(time.time()),
            "jti": asked["state"],
            "sub_id": {"format": "opaque", "id": asked["stream_id"]},
            "events": {f"{SSF}verification": {"state": asked["state"]}},
        }
        body = signed(claims, "secevent+jwt").encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        head = "POST /sets HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n"
        head += f"Authorization: {credential}\r\nContent-Length: {len(body)}\r\n"
        head += "Content-Type: application/secevent+jwt\r\n\r\n"
        writer.write(head.encode() + body)
        answer = await reader.read()
        writer.close()
        return answer.split(b" ", 2)[1]


@contextlib.asynccontextmanager
async def transmitting():
    made = Transmitter()
    runner = web.ServerRunner(web.Server(made.handle), shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        made.base = f"http://127.0.0.1:{runner.addresses[0][1]}"
        yield made
    finally:
        await runner.cleanup()


async def test_stream_is_made_and_its_signs_of_life_show_in_the_status(tmp_path):
    """The transmitter pushes with the credential that it was told, and is heard."""
    async with world() as around, transmitting() as transmitter:
        port = free_ports(1)[0]
        receiver = "https://gateway.example.com/sets"
        login = around.issuer.document(
            ssf={
                "issuer": transmitter.base,
                "audience": [AUDIENCE],
                "authorization": "Bearer push",
                "max_silence": "1h",
                "stream": {
                    "authorization": "Bearer manage",
                    "receiver": receiver,
                    "create": True,
                },
            }
        )
        made = around.document(
            tmp_path,
            issuers={"login": login},
            intake={"listen": f"127.0.0.1:{port}"},
            workers=1,
        )
        async with running(Gateway(tmp_path, made)) as gateway, asyncio.timeout(20):
            told = transmitter.streams
            await until(lambda: told, "the stream is made")
            assert told[0]["delivery"]["endpoint_url"] == receiver
            credential = told[0]["delivery"]["authorization_header"]
            assert await transmitter.deliver(port, credential) == b"202"
            (line,) = (await gateway.status())["intake"]["streams"]
            assert (line["stream"], line["state"]) == ("stream-1", "enabled")
            assert line["verified_s"] < 20
            assert line["events"] == {"verification": 1}
            assert (await gateway.status())["alarms"] == []
            env = {
                "FASTGATE_CONFIG": str(gateway.path),
                "FORCE_COLOR": "1",
                "COLUMNS": "160",
            }
            said = await command("status", env=env)
            assert "stream of login: enabled, heard " in said.out
