"""A WebSocket client that breaks the rules, one socket each. Arguments: the socket's URL and an access token.

Prints a line for each case: its name and the code that the server closed with, or what it said.
"""

import asyncio
import sys

import websockets
from websockets.frames import Frame, Opcode

URL, TOKEN = sys.argv[1:]
HEADERS = {"Authorization": f"Bearer {TOKEN}"}


async def opened():
    socket = await websockets.connect(URL, additional_headers=HEADERS, ping_interval=None)
    assert '"hello"' in await socket.recv()
    return socket


async def closed(name, *frames):
    """Sends bytes as they are; tells the code that comes back."""
    socket = await opened()
    for frame in frames:
        socket.transport.write(frame)
    async with asyncio.timeout(20):
        while True:
            try:
                await socket.recv()
            except websockets.ConnectionClosed as error:
                print(name, error.rcvd.code if error.rcvd else "none", flush=True)
                return


def frame(opcode, data, fin=True, mask=True):
    return Frame(opcode, data, fin=fin).serialize(mask=mask)


async def answered(name, message):
    socket = await opened()
    await socket.send(message)
    async with asyncio.timeout(20):
        print(name, await socket.recv(), flush=True)
    await socket.close()


async def main():
    ping = '{"type":"ping"}'
    await answered("fragmented", (ping[at : at + 3] for at in range(0, len(ping), 3)))
    await answered("largest", '{"type":"ping"' + " " * ((64 << 10) - len(ping)) + "}")
    await answered("no_json", "hello")
    # A ping between the fragments of a text, and one with a payload.
    socket = await opened()
    socket.transport.write(frame(Opcode.TEXT, ping[:5].encode(), fin=False))
    pong = await socket.ping(b"between")
    await asyncio.wait_for(pong, 20)
    socket.transport.write(frame(Opcode.CONT, ping[5:].encode()))
    print("interleaved", await asyncio.wait_for(socket.recv(), 20), flush=True)
    await socket.close(1000)
    print("closed_by_client", socket.close_code, flush=True)

    await closed("oversized", frame(Opcode.TEXT, b"x" * (65 << 10)))
    await closed("oversized_in_parts", frame(Opcode.TEXT, b"x" * (40 << 10), fin=False), frame(Opcode.CONT, b"x" * (40 << 10)))
    await closed("invalid_utf8", frame(Opcode.TEXT, b"\xff\xfe"))
    await closed("utf8_cut_at_the_end", frame(Opcode.TEXT, "€".encode()[:2]))
    await closed("binary", frame(Opcode.BINARY, b"\x00\x01"))
    # An opcode that nobody has defined: 3 for data, 11 for control.
    await closed("reserved_data_opcode", bytes([0x83, 0x80, 0, 0, 0, 0]))
    await closed("reserved_control_opcode", bytes([0x8B, 0x80, 0, 0, 0, 0]))
    await closed("reserved_bit", bytes([0xC1, 0x81, 0, 0, 0, 0]) + b"x")
    await closed("unmasked", frame(Opcode.TEXT, b"x", mask=False))
    await closed("continuation_of_nothing", frame(Opcode.CONT, b"x"))
    await closed("text_within_a_text", frame(Opcode.TEXT, b"x", fin=False), frame(Opcode.TEXT, b"y"))
    # Control frames are whole and short.
    await closed("fragmented_ping", bytes([0x09, 0x80, 0, 0, 0, 0]))
    await closed("long_ping", bytes([0x89, 0x80 | 126, 0, 200, 0, 0, 0, 0]) + b"x" * 200)
    await closed("close_with_reserved_code", bytes([0x88, 0x82, 0, 0, 0, 0]) + (1005).to_bytes(2, "big"))
    await closed("close_of_one_byte", bytes([0x88, 0x81, 0, 0, 0, 0]) + b"\x03")
    await closed("close", frame(Opcode.CLOSE, (1000).to_bytes(2, "big")))


asyncio.run(main())
