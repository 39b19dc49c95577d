"""Yubico's PKCS #11 module makes keys in a card of ours and uses them, driven by pkcs11-tool.

It looks at readers of its maker only, and administers with three-key TDES: so the reader bears such a name, and 9B is
set to TDES first.
"""

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

from foreign.certifier import Public, certify
from foreign.factory_card import ADMIN_KEY, PIN, PUK, FactoryCard, Ykman, factory_card
from issuer.config import Secret
from issuer.trust.pkcs11 import Pkcs11
from issuer.trust.pkcs11_link import Login, Worker
from issuer.trust.port import HsmError

MODULE = "/usr/lib/x86_64-linux-gnu/libykcs11.so"
READER = "Yubico YubiKey CCID"
ADMIN = ["--login", "--login-type", "so", "--so-pin"]
LOGIN = ["--login", "--pin", PIN]
NEW_PIN = "246813"
OTHER_KEY = ADMIN_KEY[:-2] + "0A"
IDS = {"9a": "01", "9c": "02", "9d": "03", "9e": "04", "82": "05", "95": "18"}
KINDS = {"EC:prime256v1": "ECCP256", "EC:secp384r1": "ECCP384", "rsa:2048": "RSA2048"}
SAID = "Thẻ mở cửa".encode()


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory, program: Ykman) -> Iterator[FactoryCard]:
    with factory_card(tmp_path_factory.mktemp("yubico"), program, READER) as made:
        options = ["-m", ADMIN_KEY, "-n", ADMIN_KEY, "-a", "tdes", "-f"]
        made.ykman("piv", "access", "change-management-key", *options)
        yield made


def say(card: FactoryCard, *arguments: str) -> str:
    return card.pkcs11(*arguments, module=MODULE)


def make_key(card: FactoryCard, slot: str, kind: str) -> Public:
    say(card, *ADMIN, ADMIN_KEY, "--keypairgen", "--key-type", kind, "--id", IDS[slot])
    key = load_pem_public_key(card.ykman("piv", "keys", "export", slot, "-").encode())
    assert isinstance(key, Public)
    return key


def used(card: FactoryCard, folder: Path, *arguments: str, given: bytes = SAID) -> bytes:
    """What pkcs11-tool made of the input with a key of the card, the PIN given."""
    (folder / "given").write_bytes(given)
    say(card, *LOGIN, *arguments, "--input-file", str(folder / "given"), "--output-file", str(folder / "made"))
    return (folder / "made").read_bytes()


def test_it_takes_the_card_for_a_yubikey(card: FactoryCard) -> None:
    told = say(card, "-L")
    assert re.search(r"token label +: YubiKey PIV #\d+", told)
    assert re.search(r"firmware version +: 5.70", told)


@pytest.mark.parametrize("slot", IDS)
@pytest.mark.parametrize("kind", KINDS)
def test_it_makes_a_key_in_each_slot(card: FactoryCard, slot: str, kind: str) -> None:
    make_key(card, slot, kind)
    told = card.ykman("piv", "keys", "info", slot)
    assert f"Algorithm:              {KINDS[kind]}" in told
    assert "GENERATED" in told


@pytest.mark.parametrize("slot", ["9a", "9c", "9e"])
@pytest.mark.parametrize(("kind", "hash_"), [("EC:prime256v1", hashes.SHA256()), ("EC:secp384r1", hashes.SHA384())])
def test_an_elliptic_key_signs(
    card: FactoryCard, tmp_path: Path, slot: str, kind: str, hash_: hashes.HashAlgorithm
) -> None:
    key = make_key(card, slot, kind)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    mechanism = f"ECDSA-{hash_.name.upper()}"
    signature = used(card, tmp_path, "--sign", "-m", mechanism, "--signature-format", "openssl", "--id", IDS[slot])
    key.verify(signature, SAID, ec.ECDSA(hash_))


@pytest.mark.parametrize("slot", IDS)
def test_an_rsa_key_signs(card: FactoryCard, tmp_path: Path, slot: str) -> None:
    key = make_key(card, slot, "rsa:2048")
    assert isinstance(key, rsa.RSAPublicKey)
    signature = used(card, tmp_path, "--sign", "-m", "SHA256-RSA-PKCS", "--id", IDS[slot])
    key.verify(signature, SAID, padding.PKCS1v15(), hashes.SHA256())


@pytest.mark.parametrize("slot", ["9d", "82", "95"])
def test_a_key_management_key_agrees_on_secrets(card: FactoryCard, tmp_path: Path, slot: str) -> None:
    key = make_key(card, slot, "EC:prime256v1")
    assert isinstance(key, ec.EllipticCurvePublicKey)
    other = ec.generate_private_key(ec.SECP256R1())
    point = other.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    derived = used(card, tmp_path, "--derive", "-m", "ECDH1-DERIVE", "--id", IDS[slot], given=point)
    assert derived == other.exchange(ec.ECDH(), key)


def test_its_own_test_of_all_keys_finds_no_error(card: FactoryCard) -> None:
    for slot in ("9a", "9c", "9d"):
        make_key(card, slot, "rsa:2048")
    told = say(card, *LOGIN, "--test")
    assert told.rstrip().endswith("No errors")
    for name in ("PIV Authentication", "Digital Signature", "Key Management"):
        assert len(re.findall(rf"testing key \d+ \(Private key for {name}\)", told)) >= 2


def test_a_certificate_is_written_read_and_deleted(card: FactoryCard, tmp_path: Path) -> None:
    key = make_key(card, "9e", "EC:prime256v1")
    certificate = certify(key, "Thẻ").public_bytes(Encoding.DER)
    (tmp_path / "certificate").write_bytes(certificate)
    by_id = ["--type", "cert", "--id", IDS["9e"]]
    say(card, *ADMIN, ADMIN_KEY, "--write-object", str(tmp_path / "certificate"), *by_id)
    say(card, "--read-object", *by_id, "--output-file", str(tmp_path / "read"))
    assert (tmp_path / "read").read_bytes() == certificate
    say(card, *ADMIN, ADMIN_KEY, "--delete-object", *by_id)
    assert card.try_ykman("piv", "certificates", "export", "9e", "-").returncode == 1


def test_the_pin_is_changed_and_a_wrong_one_signs_in_nobody(card: FactoryCard) -> None:
    say(card, *LOGIN, "--change-pin", "--new-pin", NEW_PIN)
    assert "CKR_PIN_INCORRECT" in card.try_pkcs11(*LOGIN, "-O", module=MODULE).stderr
    say(card, "--login", "--pin", NEW_PIN, "--change-pin", "--new-pin", PIN)
    assert "PIN tries remaining:      5/5" in card.ykman("piv", "info")


def test_the_management_key_is_its_so_pin(card: FactoryCard) -> None:
    say(card, *ADMIN, ADMIN_KEY, "--change-pin", "--new-pin", OTHER_KEY)
    refused = card.try_pkcs11(*ADMIN, ADMIN_KEY, "--keypairgen", "--key-type", "EC:prime256v1", module=MODULE)
    assert "CKR_PIN_INCORRECT" in refused.stderr
    say(card, *ADMIN, OTHER_KEY, "--change-pin", "--new-pin", ADMIN_KEY)


# --- behind our own adapter

# What the adapter does with its keys, done with keys of a card: these cannot bear the mark that the adapter looks for.
SIGNS = """
import sys
from pkcs11 import Attribute, ObjectClass
from issuer.trust.pkcs11_errors import in_our_words
from issuer.trust.pkcs11_keys import Entry, Mark
from issuer.trust.pkcs11_login import find_token, log_in
from issuer.trust.pkcs11_signer import Signer
from issuer.trust.pkcs11_wire import Refused

module, label, said, pin = *sys.argv[1:], sys.stdin.readline().strip()
token = find_token(module, label)
signer = Signer(token.slot.get_mechanisms(), pin)
session = log_in(token, pin)
for identity in (b"\\x01", b"\\x02"):
    key = next(iter(session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.ID: identity})))
    entry = Entry("a key", Mark.new("ec-p256", "card", (), 0), objects={"": key})
    for signature in signer.sign(entry, [said.encode()] * 2):
        print(int(entry.asks_pin()), signature.hex())
print("now it is taken out", flush=True)
if sys.stdin.readline():
    try:
        with in_our_words():
            signer.sign(entry, [said.encode()])
    except Refused as error:
        print(error)
"""


@pytest.fixture
def login(card: FactoryCard, monkeypatch: pytest.MonkeyPatch) -> Login:
    for name, value in card.environ.items():
        monkeypatch.setenv(name, value)
    found = re.search(r"token label +: (YubiKey PIV #\d+)", say(card, "-L"))
    assert found
    return Login(MODULE, found[1], Secret(PIN), False, False)


def test_our_adapter_signs_with_a_key_that_asks_for_the_pin_each_time(card: FactoryCard, login: Login) -> None:
    keys = [make_key(card, slot, "EC:prime256v1") for slot in ("9a", "9c")]
    command = [sys.executable, "-c", SIGNS, MODULE, login.token, SAID.decode()]
    done = subprocess.run(command, input=PIN + "\n", capture_output=True, text=True, check=True, timeout=20)
    told = [line.split() for line in done.stdout.splitlines()[:-1]]
    assert [asks for asks, _ in told] == ["0", "0", "1", "1"]
    for (_, signature), key in zip(told, (keys[0], keys[0], keys[1], keys[1]), strict=True):
        assert isinstance(key, ec.EllipticCurvePublicKey)
        raw = bytes.fromhex(signature)
        der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
        key.verify(der, SAID, ec.ECDSA(hashes.SHA256()))


def test_our_adapter_says_that_the_card_is_out_and_goes_on_when_it_is_in_again(card: FactoryCard, login: Login) -> None:
    for slot in ("9a", "9c"):
        make_key(card, slot, "EC:prime256v1")
    hsm = Pkcs11(Worker(login))
    command = [sys.executable, "-c", SIGNS, MODULE, login.token, "x"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as signing:
        assert signing.stdin
        assert signing.stdout
        signing.stdin.write(PIN + "\n")
        while "taken out" not in signing.stdout.readline():
            pass
        card.remove()
        try:
            assert signing.communicate("go on\n", timeout=20)[0] == "device-lost: DeviceError\n"
            with pytest.raises(HsmError, match=r"hsm\.hsm_gone"):
                hsm.keys()
        finally:
            card.insert()
    assert hsm.keys() == []
    hsm.close()


def test_our_adapter_asks_with_a_wrong_pin_once_and_says_when_it_is_locked(card: FactoryCard, login: Login) -> None:
    wrong = replace(login, pin=Secret("000000"))
    said = []
    for _ in range(6):
        hsm = Pkcs11(Worker(wrong))
        for _ in range(3):  # of these, one reaches the card
            with pytest.raises(HsmError) as refused:
                hsm.keys()
        said.append(refused.value.code)
        if said[-1] == "hsm.pin_locked":
            break
    card.ykman("piv", "access", "unblock-pin", "-p", PUK, "-n", PIN)
    assert said == ["hsm.wrong_pin"] * 5 + ["hsm.pin_locked"]
