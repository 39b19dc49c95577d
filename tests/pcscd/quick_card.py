"""A card that answers at once: the card end of vpcd, to test the carrier alone. Started inside the reader's namespace.

INS 01 gives as many bytes as P1 P2 say, 02 never answers, 03 leaves without an answer, 04 gives the number of resets
and power-ups so far; all others 9000.
"""

import socket
import struct
import sys
import time

from cardlink.iso7816.atr import CARD_ATR


def receive(link: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        # vpcd sends length and body apart; without this each exchange waits for a delayed acknowledgement
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        part = link.recv(size - len(data))
        if not part:
            sys.exit(0)
        data += part
    return data


def serve(port: int) -> None:
    link = socket.create_connection(("127.0.0.1", port))
    resets = 0
    while True:
        (size,) = struct.unpack(">H", receive(link, 2))
        message = receive(link, size)
        if size == 1:
            resets += message in (b"\x01", b"\x02")
            if message == b"\x04":
                link.sendall(struct.pack(">H", len(CARD_ATR)) + CARD_ATR)
            continue
        answer = b"\x90\x00"
        if message[1] == 0x01:
            answer = bytes(int.from_bytes(message[2:4], "big")) + answer
        elif message[1] == 0x02:
            time.sleep(3600)
        elif message[1] == 0x03:
            return
        elif message[1] == 0x04:
            answer = bytes((resets,)) + answer
        link.sendall(struct.pack(">H", len(answer)) + answer)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
