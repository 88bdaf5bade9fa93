"""In the guest: stands between Pipit and the rehearsal server and writes down what goes over the wire: relay.py FROM_PORT TO_PORT.

Standard output has a line of JSON for each message: its time (CLOCK_MONOTONIC, s), "to" ("service" or "pipit"), and the message; of
sound only the length in characters stays. It runs on the websockets library that Pipit itself is installed with.
"""

import asyncio
import json
import sys
import time

from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

SOUND = ("audio", "delta")


async def main() -> None:
    from_port, to_port = int(sys.argv[1]), int(sys.argv[2])

    async def relay(pipit: ServerConnection) -> None:
        authorization = pipit.request.headers.get("Authorization", "")
        write({"to": "service", "message": {"type": "opened", "authorization": authorization}})
        async with connect(
            f"ws://127.0.0.1:{to_port}{pipit.request.path}",
            additional_headers={"Authorization": authorization},
            max_size=None,
        ) as service:
            await asyncio.gather(carry(pipit, service, "service"), carry(service, pipit, "pipit"))

    async with serve(relay, "127.0.0.1", from_port, max_size=None) as server:
        await server.serve_forever()


async def carry(source: ServerConnection | ClientConnection, target: ServerConnection | ClientConnection, to: str) -> None:
    try:
        async for message in source:
            write({"to": to, "message": without_sound(message)})
            await target.send(message)
    except ConnectionClosed:
        pass
    write({"to": to, "message": {"type": "closed", "code": source.close_code}})
    await target.close()


def without_sound(message: str | bytes) -> dict:
    if isinstance(message, bytes):
        return {"type": "sound", "bytes": len(message)}
    fields = json.loads(message)
    for name in SOUND:
        if isinstance(fields.get(name), str) and len(fields[name]) > 200:
            fields[name] = len(fields[name])
    return fields


def write(entry: dict) -> None:
    sys.stdout.write(json.dumps({"at": time.monotonic(), **entry}) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())
