"""Vectors of the layers below the statements: CBOR, COSE keys and envelopes, agency codes, the challenge."""

from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature, encode_dss_signature
from world import CARD, DOOR_UUID, ROOTS, TRUST, cose_key, kid, private_key, sign_with, signed, trust_statement

from cardlink.statements import cbor, cose
from cardlink.statements.challenge import door_challenge_digest
from cardlink.statements.cose_key import ORDER

NONCE = bytes(range(32))


def build() -> dict[str, dict[str, Any]]:
    """The files of this module."""
    return {
        "cbor": _cbor(),
        "cose_key": _cose_key(),
        "cose": _cose(),
        "agency": _agency(),
        "challenge": _challenge(),
    }


def _bad(*rows: tuple[str, str, str]) -> list[dict[str, str]]:
    return [{"name": name, "raw": raw.replace(" ", ""), "why": why} for name, raw, why in rows]


def _cbor() -> dict[str, Any]:
    good = {
        "zero": "00",
        "23": "17",
        "24": "1818",
        "255": "18ff",
        "256": "190100",
        "65535": "19ffff",
        "65536": "1a00010000",
        "2^32": "1b0000000100000000",
        "2^64-1": "1bffffffffffffffff",
        "-1": "20",
        "-24": "37",
        "-25": "3818",
        "-2^64": "3bffffffffffffffff",
        "empty bytes": "40",
        "bytes": "43010203",
        "empty text": "60",
        "text": "65c490e1bab7",
        "false": "f4",
        "true": "f5",
        "null": "f6",
        "empty array": "80",
        "array": "83010203",
        "empty map": "a0",
        "keys by bytes": "a40100186402200361 6104",
        "short text key after a long number": "a2190100 00 6161 01",
        "nested": "a1018202a10304",
    }
    return {
        "source": "RFC 8949 §3, §4.2.1 and Appendix A",
        "good": [{"name": name, "raw": raw.replace(" ", "")} for name, raw in good.items()],
        "bad": _bad(
            ("empty", "", "truncated"),
            ("23 in two bytes", "1817", "shortest"),
            ("255 in three bytes", "1900ff", "shortest"),
            ("65535 in five bytes", "1a0000ffff", "shortest"),
            ("2^32-1 in nine bytes", "1b00000000ffffffff", "shortest"),
            ("long negative", "3800", "shortest"),
            ("long length of bytes", "580101", "shortest"),
            ("long length of text", "780161", "shortest"),
            ("long count of an array", "980101", "shortest"),
            ("long count of a map", "b8010101", "shortest"),
            ("long key", "a1180100", "shortest"),
            ("indefinite bytes", "5f4101ff", "indefinite"),
            ("indefinite text", "7f6161ff", "indefinite"),
            ("indefinite array", "9f01ff", "indefinite"),
            ("indefinite map", "bf0101ff", "indefinite"),
            ("break alone", "ff", "indefinite"),
            ("reserved 28", "1c", "reserved"),
            ("reserved 30", "5e", "reserved"),
            ("half float", "f93c00", "float"),
            ("float", "fa3f800000", "float"),
            ("double", "fb3ff0000000000000", "float"),
            ("undefined", "f7", "float or unassigned"),
            ("simple 16", "f0", "float or unassigned"),
            ("simple 32", "f820", "float or unassigned"),
            ("false in two bytes", "f814", "float or unassigned"),
            ("repeated key", "a2010001 01", "repeated key"),
            ("repeated text key", "a2616100616101", "repeated key"),
            ("keys out of order", "a202000100", "out of order"),
            ("keys by length first", "a22000186400", "out of order"),
            ("negative before positive", "a220000100", "out of order"),
            ("key of bytes", "a1410100", "neither integer nor text"),
            ("key of an array", "a18000", "neither integer nor text"),
            ("key of a map", "a1a000", "neither integer nor text"),
            ("key true", "a1f500", "neither integer nor text"),
            ("trailing byte", "0000", "trailing"),
            ("trailing after a map", "a000", "trailing"),
            ("not UTF-8", "61ff", "UTF-8"),
            ("surrogate", "63eda080", "UTF-8"),
            ("overlong UTF-8", "62c080", "UTF-8"),
            ("cut number", "19ff", "truncated"),
            ("cut bytes", "4301", "truncated"),
            ("cut text", "6261", "truncated"),
            ("cut array", "8201", "truncated"),
            ("cut map", "a101", "truncated"),
            ("bytes of 2^63", "5b7fffffffffffffff00", "truncated"),
            ("array of 2^60", "9b0fffffffffffffff00", "truncated"),
            ("map of 2^60", "bb0fffffffffffffff00", "truncated"),
            ("tag 1", "c11a514b67b0", "tag"),
            ("big number", "c249010000000000000000", "tag"),
            ("bigfloat bomb", "c5821a3b9aca0003", "tag"),
            ("tag 258", "d9010280", "tag"),
            ("self-described", "d9d9f700", "tag"),
            ("17 deep", "81" * 17 + "00", "too deep"),
            ("10000 deep", "81" * 10_000, "too deep"),
            ("10000 maps deep", "a100" * 10_000, "too deep"),
        ),
    }


def _cose_key() -> dict[str, Any]:
    key = cose_key("card-9e")
    x = key.x.hex()
    prefix = "a401022001215820"
    return {
        "source": "RFC 9053 §7.1.1, RFC 9679 §6 (thumbprint), docs/formats.md F1",
        "thumbprint": {  # the example of RFC 9679 §6
            "x": "65eda5a12577c2bae829437fe338701a10aaa375e1bb5b5de108de439c08551d",
            "y": "1e52ed75701163f7f9e40ddf9f341b3dc9ba860af7e0ca7ca7e9eecd0084d19c",
            "sha256": "496bd8afadf307e5b08c64b0421bf9dc01528a344a43bda88fadd1669da253ec",
        },
        "good": [
            {
                "name": "a card's key",
                "raw": key.encode().hex(),
                "kid": key.kid().hex(),
                "key_hash": key.key_hash().hex(),
            }
        ],
        "bad": _bad(
            ("another key type", prefix.replace("0102", "0101", 1) + x + "22f5", "EC2"),
            ("P-384", prefix.replace("2001", "2002") + x + "22f5", "EC2"),
            ("x of 31 bytes", "a40102200121581f" + x[2:] + "22f5", "32 bytes"),
            ("y as bytes", prefix + x + "225820" + x, "true or false"),
            ("y as number", prefix + x + "2201", "true or false"),
            ("no y", "a3" + prefix[2:] + x, "missing"),
            ("alg beside", "a5010203262001215820" + x + "22f5", "unknown key"),
            ("private part", "a5" + prefix[2:] + x + "22f5" + "235820" + "11" * 32, "unknown key"),
            ("x not on the curve", prefix + "00" * 31 + "01" + "22f5", "not on P-256"),
            (
                "x is the prime",
                prefix + "ffffffff00000001000000000000000000000000ffffffffffffffffffffffff22f5",
                "P-256",
            ),
        ),
        "bad_points": [
            {"name": name, "point": point}
            for name, point in (
                ("(0, 0)", "04" + "00" * 64),
                ("off the curve", "04" + x + "11" * 32),
                ("infinity", "00"),
                ("compressed", "02" + x),
                ("64 bytes", "04" + "11" * 63),
                ("beyond the prime", "04" + "ff" * 64),
            )
        ],
    }


def _cose() -> dict[str, Any]:
    raw = signed(CARD, "card")
    payload = cbor.encode(CARD)
    signature = raw[-64:].hex()
    body = "59" + len(payload).to_bytes(2, "big").hex() if len(payload) > 255 else f"58{len(payload):02x}"
    body += payload.hex()
    k = kid("card").hex()
    protected = "4da2012604 48".replace(" ", "") + k
    several = trust_statement()
    one = cose.sign_several(cbor.encode(TRUST), [(kid(ROOTS[0]), sign_with(ROOTS[0]))] * 2)
    return {
        "source": "RFC 9052 §4; docs/formats.md F2, F8",
        "good": [{"name": "COSE_Sign1", "raw": raw.hex()}],
        "good_several": [{"name": "COSE_Sign", "raw": several.hex()}],
        "bad": _bad(
            ("no tag", raw[1:].hex(), "tag 18"),
            ("tag 17", "d1" + raw[1:].hex(), "tag 18"),
            ("tag 61 around", "d83d" + raw.hex(), "tag 18"),
            ("long tag", "d812" + raw[1:].hex(), "tag 18"),
            ("trailing byte", raw.hex() + "00", "trailing"),
            ("three parts", "d283" + protected + "a0" + body, "array of 4"),
            ("a map", "d2a0", "array of 4"),
            ("protected as map", f"d284a2012604 48{k}a0{body}5840{signature}".replace(" ", ""), "byte strings"),
            ("unprotected kid", f"d2844da20126 0448{k}a10448{k}{body}5840{signature}".replace(" ", ""), "empty map"),
            ("unprotected array", f"d284{protected}80{body}5840{signature}", "empty map"),
            ("detached payload", f"d284{protected}a0f65840{signature}", "byte strings"),
            ("signature of 63 bytes", f"d284{protected}a0{body}583f{signature[2:]}", "64 bytes"),
            ("signature of 65 bytes", f"d284{protected}a0{body}584100{signature}", "64 bytes"),
            ("ES384", f"d2844ea2013822 0448{k}a0{body}5840{signature}".replace(" ", ""), "ES256"),
            ("no kid", f"d28443a10126a0{body}5840{signature}", "missing"),
            ("no alg", f"d2844ba10448{k}a0{body}5840{signature}", "missing"),
            ("kid of 7 bytes", f"d2844ca2012604 47{k[2:]}a0{body}5840{signature}".replace(" ", ""), "8 bytes"),
            ("crit header", f"d2844fa301260204 0448{k}a0{body}5840{signature}".replace(" ", ""), "unknown key"),
            ("header keys out of order", f"d2844da20448{k}0126a0{body}5840{signature}", "out of order"),
            (
                "type as number",
                f"d2844fa3012604 48{k}1000a0{body}5840{signature}".replace(" ", ""),
                "type must be text",
            ),
            ("type null", f"d2844fa3012604 48{k}10f6a0{body}5840{signature}".replace(" ", ""), "type must be text"),
            ("empty protected header", f"d28440a0{body}5840{signature}", "truncated"),
            ("indefinite array", f"d29f{protected}a0{body}5840{signature}ff", "indefinite"),
            ("nested array", "d2" + "84" * 40, "too deep"),
        ),
        "bad_several": _bad(
            ("tag 18", "d2" + several[2:].hex(), "tag 98"),
            ("no signature", "d862" + cbor.encode([b"", {}, b"", []]).hex(), "1 to 16"),
            ("17 signatures", "d862" + cbor.encode([b"", {}, b"", [[b"", {}, bytes(64)]] * 17]).hex(), "1 to 16"),
            ("one key twice", one.hex(), "twice"),
            ("body header", "d862" + cbor.encode([b"\xa1\x01\x26", {}, b"", [[b"", {}, b""]]]).hex(), "empty"),
            ("payload of text", "d862" + cbor.encode([b"", {}, "", [[b"", {}, b""]]]).hex(), "byte string"),
        ),
    }


def _agency() -> dict[str, Any]:
    return {
        "source": "Decision 20/2020/QĐ-TTg, QCVN 102:2016/BTTTT; docs/formats.md F1",
        "good": ["H49", "G09", "H49.01", "H49.01.02", "000", "A1B2.Z9", "H49." + "1" * 31, "H49.12345678901"],
        "reversed": {
            "000.00.00.H49": "H49",
            "000.00.01.H49": "H49.01",
            "000.02.01.H49": "H49.01.02",
            "003.02.01.H49": "H49.01.02.003",
            "003.00.00.H49": "H49.00.00.003",
            "H49.01": "H49.01",
        },
        "bad": [
            "",
            ".",
            "H49.",
            ".H49",
            "H49..01",
            "h49",
            "H49 ",
            "H49-01",
            "Đ49",
            "H49.01\n",
            "H49.１",
            "H49." + "1" * 32,
            "H49.123456789012",
            "123456789012",
        ],
        "covers": [["H49", "H49"], ["H49", "H49.01"], ["H49.01", "H49.01.02"]],
        "covers_not": [["H4", "H49"], ["H49.01", "H49"], ["H49.0", "H49.01"], ["H49.01", "H49.010"]],
    }


def _challenge() -> dict[str, Any]:
    """One answer, and the ways in which one must not be taken (the families of Wycheproof's ECDSA tests)."""
    digest = door_challenge_digest(DOOR_UUID, NONCE)
    key = private_key("card-9e")
    good = key.sign(digest, ec.ECDSA(Prehashed(hashes.SHA256()), deterministic_signing=True))
    r, s = decode_dss_signature(good)
    raw_r, raw_s = _integer(r), _integer(s)
    bad = {
        "r = 0": encode_dss_signature(0, s),
        "s = 0": encode_dss_signature(r, 0),
        "r = n": encode_dss_signature(ORDER, s),
        "s = n": encode_dss_signature(r, ORDER),
        "r + n": encode_dss_signature(r + ORDER, s),
        "s + n": encode_dss_signature(r, s + ORDER),
        "r = 1, s = 1": encode_dss_signature(1, 1),
        "r negative": _sequence(b"\x02\x01\xff" + raw_s),
        "r and s swapped": encode_dss_signature(s, r),
        "empty": b"",
        "empty sequence": b"\x30\x00",
        "one integer": _sequence(raw_r),
        "three integers": _sequence(raw_r + raw_s + b"\x02\x01\x01"),
        "trailing byte": good + b"\x00",
        "trailing byte inside": _sequence(raw_r + raw_s + b"\x00"),
        "cut": good[:-1],
        "long length": b"\x30\x81" + good[1:],
        "indefinite length": b"\x30\x80" + good[2:] + b"\x00\x00",
        "padded r": _sequence(b"\x02" + bytes((len(raw_r) - 1,)) + b"\x00" + raw_r[2:] + raw_s),
        "set instead of sequence": b"\x31" + good[1:],
        "raw r and s": r.to_bytes(32, "big") + s.to_bytes(32, "big"),
        "integers as bytes": _sequence(b"\x04" + raw_r[1:] + raw_s),
        "a kilobyte": _sequence(b"\x02\x81\xff" + bytes(255)) * 4,
    }
    return {
        "source": "docs/formats.md F12; families of bad signatures after Wycheproof's ecdsa_secp256r1_sha256",
        "door": DOOR_UUID.hex(),
        "nonce": NONCE.hex(),
        "digest": digest.hex(),
        "key": cose_key("card-9e").encode().hex(),
        "good": [
            {"name": "an answer", "raw": good.hex()},
            {"name": "-s", "raw": encode_dss_signature(r, ORDER - s).hex()},
        ],
        "bad": [{"name": name, "raw": one.hex()} for name, one in bad.items()],
    }


def _integer(number: int) -> bytes:
    raw = number.to_bytes(number.bit_length() // 8 + 1, "big")
    return bytes((2, len(raw))) + raw


def _sequence(body: bytes) -> bytes:
    return bytes((0x30, len(body))) + body if len(body) < 128 else bytes((0x30, 0x81, len(body) & 0xFF)) + body
