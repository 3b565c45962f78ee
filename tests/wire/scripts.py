"""What an upstream says in tests, and the request that it says it to."""

import asyncio

from tests.recorder import Recorded, Script, Talk

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\n"


def saying(data: bytes, *, keep: bool = False, bytewise: bool = False) -> Script:
    """A script that says these bytes to each request.

    keep: Leave the connection open, so that only the gateway can end it.
    """

    async def script(_: Recorded, talk: Talk) -> bool:
        for at in range(0, len(data), 1 if bytewise else max(len(data), 1)):
            await talk.send(data[at : at + (1 if bytewise else len(data))])
            if bytewise:
                await asyncio.sleep(0)
        if not keep:
            talk.writer.close()
        return keep

    return script
