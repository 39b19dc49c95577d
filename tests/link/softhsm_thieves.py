"""What thieves and strangers do to a token with a library of their own: programs for a process beside the tests."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress

from softhsm_tokens import MODULE, Tokens, environ_of

from issuer.config import Secret

# What somebody who has stolen the everyday PIN tries with a library of his own.
THIEF = """
import sys
import pkcs11
from pkcs11 import Attribute, KeyType, ObjectClass

module, token, pin = sys.argv[1], sys.argv[2], sys.stdin.readline().strip()
session = pkcs11.lib(module).get_token(token_label=token).open(rw=True, user_pin=pin)
wrapping = session.generate_key(KeyType.AES, 256)
keys = [*session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY}),
        *(one for one in session.get_objects({Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.TOKEN: True}))]

def outcome(act):
    try:
        act()
    except pkcs11.PKCS11Error as error:
        return type(error).__name__
    return "done"

def change(key, attribute, value):
    key[attribute] = value

for key in keys:
    print(
        key.label,
        outcome(lambda: key[Attribute.VALUE]),
        outcome(lambda: wrapping.wrap_key(key)),
        *(outcome(lambda: change(key, *pair)) for pair in (
            (Attribute.ID, b"mine"), (Attribute.LABEL, "mine"), (Attribute.EXTRACTABLE, True),
            (Attribute.SENSITIVE, False), (Attribute.DERIVE, True),
        )),
    )
"""

# ... and with a key that is not there for what he wants signed.
FORGER = """
import sys
import pkcs11
from pkcs11 import Attribute, Mechanism, ObjectClass

module, token, label, pin = *sys.argv[1:], sys.stdin.readline().strip()
try:
    session = pkcs11.lib(module).get_token(token_label=token).open(user_pin=pin)
    wanted = {Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.LABEL: label}
    print(*(len(one.sign(bytes(32), mechanism=Mechanism.ECDSA)) for one in list(session.get_objects(wanted))))
except pkcs11.PKCS11Error as error:
    print(type(error).__name__)
"""

# ... and what he tries first, of what we declare that the device does not do: what it was, and what it came to.
THIEF_ON = """
import sys
import cbor2, pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass

module, token, root_token, signer, root, pin = *sys.argv[1:], sys.stdin.readline().strip()
library = pkcs11.lib(module)

def outcome(act):
    try:
        return act()
    except pkcs11.PKCS11Error as error:
        return type(error).__name__

centre = library.get_token(token_label=token)
wrong = {outcome(lambda: centre.open(rw=True, user_pin=f"wrong-{n}")) for n in range(12)}
session = outcome(lambda: centre.open(rw=True, user_pin=pin))
is_in = wrong == {"PinIncorrect"} and isinstance(session, pkcs11.Session)
print("after 12 wrong PINs", "in" if is_in else "out", sep="=")
wrapping = session.generate_key(KeyType.AES, 256)

def first(**wanted):
    return next(iter(session.get_objects({Attribute[name]: value for name, value in wanted.items()})))

for name, kind in (("private", ObjectClass.PRIVATE_KEY), ("secret", ObjectClass.SECRET_KEY)):
    ours = list(session.get_objects({Attribute.CLASS: kind, Attribute.TOKEN: True}))
    got = {outcome(act) for one in ours for act in (lambda: one[Attribute.VALUE], lambda: wrapping.wrap_key(one))}
    print(name, "kept" if ours and got <= {"AttributeSensitive", "KeyUnextractable"} else got, sep="=")
signing = first(CLASS=ObjectClass.PRIVATE_KEY, LABEL=signer)
print("signed", outcome(lambda: len(signing.sign(bytes(32), mechanism=Mechanism.ECDSA))), sep="=")
master = first(CLASS=ObjectClass.SECRET_KEY, LABEL="ended-master")
print("ended", outcome(lambda: len(master.sign(b"card", mechanism=Mechanism.AES_CMAC))), sep="=")
print("made", outcome(lambda: session.generate_key(KeyType.AES, 256) and "done"), sep="=")
waiting = first(CLASS=ObjectClass.DATA, LABEL="job:a job that nobody opened")
print("pin", cbor2.loads(waiting[Attribute.VALUE])[1].decode(), sep="=")
print("root", outcome(lambda: library.get_token(token_label=root_token).open(user_pin=pin)), sep="=")
"""


# What somebody without any PIN leaves in a token: a public key and a note that look like ours.
STRANGER = """
import sys
import pkcs11
from pkcs11 import Attribute, KeyType, ObjectClass
from pkcs11.util.ec import encode_named_curve_parameters
from issuer.trust.pkcs11_keys import Mark

session = pkcs11.lib(sys.argv[1]).get_token(token_label=sys.argv[2]).open(rw=True)
public = {Attribute.TOKEN: True, Attribute.PRIVATE: False}
for label in sys.argv[3:]:
    session.create_object({
        **public, Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.KEY_TYPE: KeyType.EC, Attribute.LABEL: label,
        Attribute.ID: Mark("ec-p256", "card", ("H38",), 1, bytes(8)).encode(),
        Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1"),
        Attribute.EC_POINT: bytes.fromhex("044104") + bytes(64),
    })
    session.create_object({
        **public, Attribute.CLASS: ObjectClass.DATA, Attribute.APPLICATION: "themo",
        Attribute.LABEL: f"state:{label}", Attribute.VALUE: b"compromised",
    })
print(len(list(session.get_objects({Attribute.CLASS: ObjectClass.PUBLIC_KEY}))))
"""


def forged(tokens: Tokens, token: str, pin: Secret, label: str) -> str:
    """What signing with a key of the token comes to for somebody with a library of his own."""
    command = [sys.executable, "-c", FORGER, MODULE, token, label]
    environ = environ_of(tokens)
    done = subprocess.run(command, input=pin.text + "\n", env=environ, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def memory_of(pid: int) -> Iterator[bytes]:
    """What a process of ours holds in its memory, part by part."""
    with open(f"/proc/{pid}/maps", encoding="ascii") as told, open(f"/proc/{pid}/mem", "rb") as memory:
        for line in told:
            ends, access, *_ = line.split()
            begin, end = (int(one, 16) for one in ends.split("-"))
            if access.startswith("rw"):
                memory.seek(begin)
                with suppress(OSError):  # pages of a device
                    yield memory.read(end - begin)


TAKER = """
import sys
import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass

module, token, *labels = sys.argv[1:]
pin = sys.stdin.readline().strip()
with pkcs11.lib(module).get_token(token_label=token).open(rw=True, user_pin=pin) as session:
    own = session.generate_key(KeyType.AES, 256, store=False, capabilities=MechanismFlag.WRAP | MechanismFlag.UNWRAP)
    for label in labels:
        keys = [one for one in session.get_objects({Attribute.LABEL: label}) if not isinstance(one, pkcs11.PublicKey)]
        try:
            raw = own.wrap_key(keys[0], mechanism=Mechanism.AES_KEY_WRAP_PAD)
            print(f"{label}=out" if len(raw) > 32 else f"{label}=?")
        except pkcs11.PKCS11Error as error:
            print(f"{label}={type(error).__name__}")
"""
"""Enciphers keys under a key of his own: with a value that he knows, that key opens them anywhere."""
