"""A host of PIV secure messaging written from the standard alone (SP 800-73pt2-5 §4), for what the tests say to a card.

It shares nothing with `cardlink`: where both agree with the card, the card speaks the standard and not our dialect.
"""

import os
from collections.abc import Callable

from cryptography.hazmat.primitives import cmac
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, Hash, HashAlgorithm

Send = Callable[[bytes], bytes]
CURVES: dict[int, tuple[ec.EllipticCurve, int, HashAlgorithm, int, bytes]] = {
    # curve, coordinate bytes, hash of the key derivation, key bytes, algorithm IDs in OtherInfo
    0x27: (ec.SECP256R1(), 32, SHA256(), 16, bytes.fromhex("0409090909")),
    0x2E: (ec.SECP384R1(), 48, SHA384(), 32, bytes.fromhex("040D0D0D0D")),
}


def tlv(tag: str, value: bytes) -> bytes:
    size = len(value)
    if size < 0x80:
        length = bytes((size,))
    elif size < 0x100:
        length = bytes((0x81, size))
    else:
        length = b"\x82" + size.to_bytes(2, "big")
    return bytes.fromhex(tag) + length + value


def objects(raw: bytes) -> dict[int, bytes]:
    """The data objects of one level, by tag."""
    found, at = {}, 0
    while at < len(raw):
        end = at + 1
        if raw[at] & 0x1F == 0x1F:
            end += 1
        tag, size, at = int.from_bytes(raw[at:end], "big"), raw[end], end + 1
        if size & 0x80:
            count = size & 0x7F
            size, at = int.from_bytes(raw[at : at + count], "big"), at + count
        found[tag], at = raw[at : at + size], at + size
    return found


class MessagingHost:
    """One session of secure messaging with a card."""

    def __init__(self, send: Send, suite: int = 0x27) -> None:
        """Establish keys. Raises AssertionError when the card does not prove its own."""
        curve, size, self._hash, key_bytes, ids = CURVES[suite]
        self._send = send
        mine = ec.generate_private_key(curve)
        numbers = mine.public_key().public_numbers()
        x, y = numbers.x.to_bytes(size, "big"), numbers.y.to_bytes(size, "big")
        host_id = os.urandom(8)
        opening = tlv("81", b"\x00" + host_id + b"\x04" + x + y) + b"\x82\x00"
        template = tlv("7C", opening)
        answer = collect(send, bytes((0x00, 0x87, suite, 0x04, len(template))) + template + b"\x00")
        assert answer[-2:] == b"\x90\x00", answer[-2:].hex()
        body = objects(objects(answer[:-2])[0x7C])[0x82]
        nonce_bytes = 16 if suite == 0x27 else 24
        assert body[0] == 0x00
        nonce, shown = body[1 : 1 + nonce_bytes], body[1 + nonce_bytes : 17 + nonce_bytes]
        self.cvc = body[17 + nonce_bytes :]
        point = objects(objects(objects(self.cvc)[0x7F21])[0x7F49])[0x86]
        z = mine.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(curve, point))
        card_id = _digest(SHA256(), self.cvc)[:8]
        parts = (b"", host_id, b"\x00", x[:16], card_id, nonce, b"\x00")
        other = ids + b"".join(bytes((len(part),)) + part for part in parts[1:])
        stream = b"".join(_digest(self._hash, n.to_bytes(4, "big") + z + other) for n in (1, 2, 3))
        confirm, self._mac, self._enc, self._rmac = (stream[at * key_bytes : (at + 1) * key_bytes] for at in range(4))
        assert shown == _mac(confirm, b"KC_1_V" + card_id + host_id + x + y), "the card did not prove its key"
        self._counter = 0
        self._command_mcv = self._response_mcv = bytes(16)

    def wrap(self, apdu: bytes) -> list[bytes]:
        """A plain short APDU as the blocks that carry it."""
        head, data, wants_answer = _split(apdu)
        self._counter += 1
        protected = b""
        if data:
            protected = tlv("87", b"\x01" + self._crypt(data, self._iv()))
        if wants_answer:
            protected += bytes.fromhex("970100")
        header = bytes((0x0C, *head[1:])) + b"\x80" + bytes(11)
        self._command_mcv = _mac(self._mac, self._command_mcv + header + protected)
        whole = protected + tlv("8E", self._command_mcv[:8])
        blocks = [whole[at : at + 255] for at in range(0, len(whole), 255)]
        return [
            bytes((0x1C if index + 1 < len(blocks) else 0x0C, *head[1:], len(block)))
            + block
            + (b"\x00" if index + 1 == len(blocks) else b"")
            for index, block in enumerate(blocks)
        ]

    def unwrap(self, answer: bytes) -> bytes:
        """The plain answer with the protected status word; an answer that is only a status word comes back as it is."""
        if len(answer) == 2:
            return answer
        found = objects(answer[:-2])
        shown = found[0x8E]
        inside = answer[: -2 - 10]
        self._response_mcv = _mac(self._rmac, self._response_mcv + inside)
        assert shown == self._response_mcv[:8], "the R-MAC is wrong"
        data = b""
        if 0x87 in found:
            assert found[0x87][0] == 0x01
            data = self._decrypt(found[0x87][1:])
        return data + found[0x99]

    def transmit(self, apdu: bytes) -> bytes:
        """Say one plain command under protection; its whole plain answer."""
        *first, last = self.wrap(apdu)
        for block in first:
            answer = self._send(block)
            if answer != b"\x90\x00":
                return answer
        return self.unwrap(collect(self._send, last))

    def _iv(self, *, response: bool = False) -> bytes:
        block = self._counter.to_bytes(16, "big")
        if response:
            block = b"\x80" + block[1:]
        return Cipher(algorithms.AES(self._enc), modes.ECB()).encryptor().update(block)  # noqa: S305 one block

    def _crypt(self, data: bytes, iv: bytes) -> bytes:
        padded = data + b"\x80" + bytes(-(len(data) + 1) % 16)
        return Cipher(algorithms.AES(self._enc), modes.CBC(iv)).encryptor().update(padded)

    def _decrypt(self, data: bytes) -> bytes:
        cipher = Cipher(algorithms.AES(self._enc), modes.CBC(self._iv(response=True)))
        plain = cipher.decryptor().update(data).rstrip(b"\x00")
        assert plain.endswith(b"\x80"), "the padding is wrong"
        return plain[:-1]


def collect(send: Send, apdu: bytes) -> bytes:
    """An answer with what GET RESPONSE fetches."""
    answer = send(apdu)
    data = answer[:-2]
    while answer[-2] == 0x61:
        answer = send(bytes((0x00, 0xC0, 0x00, 0x00, answer[-1])))
        data += answer[:-2]
    return data + answer[-2:]


def _split(apdu: bytes) -> tuple[bytes, bytes, bool]:
    """Header, data, and whether an answer is wanted, of a short or extended APDU."""
    head, body = apdu[:4], apdu[4:]
    if len(body) <= 1:
        return head, b"", bool(body)
    if body[0]:
        return head, body[1 : 1 + body[0]], len(body) > 1 + body[0]
    size = int.from_bytes(body[1:3], "big")
    return head, body[3 : 3 + size], len(body) > 3 + size


def _digest(algorithm: HashAlgorithm, data: bytes) -> bytes:
    hashed = Hash(algorithm)
    hashed.update(data)
    return hashed.finalize()


def _mac(key: bytes, data: bytes) -> bytes:
    one = cmac.CMAC(algorithms.AES(key))
    one.update(data)
    return one.finalize()
