"""The commands for keys, stock and cards, as an office types them, with a real HSM process."""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from card_office import HOME, NOW, OTHER, TRANSPORT_KEYS, HsmProcess, portrait

import issuer.tables
from cardlink.statements.trust import Trust, accept_trust_list
from issuer import config, database
from issuer.__main__ import run
from issuer.audit import log as audit
from issuer.cards.tables import Card
from issuer.database import SessionFactory
from issuer.registry import photos
from issuer.registry.tables import Agency, Person, Position, RecordState
from issuer.trust import trust_list

OFFICERS = {"hr": "hr", "duyet": "approver", "the": "card_office", "the2": "card_office"}
SERIALS = [f"4790000100{number:06X}0001" for number in range(1, 4)]


@dataclass
class Office:
    """One installation, its commands and what they print."""

    factory: SessionFactory
    folder: Path
    capture: pytest.CaptureFixture[str]

    def issuer(self, *arguments: str, login: str | None = None, code: int = 0) -> tuple[str, str]:
        """Run one command; gives what it printed on stdout and stderr."""
        who = ("--as", login) if login else ()
        answer = run(["--lang", "vi", *who, *arguments])
        out, err = self.capture.readouterr()
        assert answer == code, err
        return out, err

    def people(self, count: int) -> list[str]:
        """So many people whose records are up to date; gives their citizen numbers."""
        numbers = [f"001185{number:06d}" for number in range(count)]
        with database.transaction(self.factory) as session:
            photo = photos.store(session, portrait(1), NOW)
            for number in numbers:
                session.add(
                    Person(
                        id=uuid.uuid4(),
                        citizen_number=number,
                        full_name="Nguyễn Thị Ánh",
                        name_fold="nguyen thi anh",
                        name_sort=number,
                        birth_date=NOW.date().replace(year=1985),
                        sex=2,
                        agency_code=HOME,
                        unit="",
                        position_code="01.003",
                        title="Chuyên viên",
                        category="CC",
                        photo_sha256=photo,
                        attested_on=self.today,
                        state=RecordState.APPROVED,
                        source="test",
                        created=NOW,
                        updated=NOW,
                        version=1,
                    )
                )
        return numbers

    @property
    def today(self) -> date:
        """The commands use the real clock, so the records are attested on the real day."""
        return datetime.now(UTC).date()


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Office]:
    process = HsmProcess(tmp_path)
    (tmp_path / "user.pin").write_text(process.pins["user"] + "\n")
    (tmp_path / "so.pin").write_text(process.pins["so"] + "\n")
    keys = " ".join(one.hex() for one in (TRANSPORT_KEYS.enc, TRANSPORT_KEYS.mac, TRANSPORT_KEYS.dek))
    (tmp_path / "transport.keys").write_text(keys + "\n")
    environ = {
        "THEMO_CENTRE_DATA_DIR": str(tmp_path),
        "THEMO_CENTRE_INSTALLATION": HOME,
        "THEMO_CENTRE_VERIFY_URL": "http://the.example/v",
        "THEMO_HSM_SOCKET": str(process.socket),
        "THEMO_HSM_PIN_FILE": str(tmp_path / "user.pin"),
        "THEMO_STATUS_LIST_BITS": "10",
    }
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    engine = database.engine(config.load(None, environ))
    issuer.tables.metadata.create_all(engine)
    made = Office(database.session_factory(engine), tmp_path, capsys)
    try:
        with database.transaction(made.factory) as session:
            for code in (HOME, OTHER):
                session.add(Agency(code=code, name=f"Cơ quan {code}", short_name=code, kind="province", scheme=1))
            session.add(Position(code="01.003", name="Chuyên viên", level="x", colour="#1f6feb", shape="bar"))
        for login, role in OFFICERS.items():
            made.issuer("users", "add", login, "--name", f"Cán bộ {login}", "--role", f"{role}@{HOME}")
        yield made
    finally:
        process.kill()
        engine.dispose()


def make_keys(office: Office) -> str:
    pin = ("--officer-pin-file", str(office.folder / "so.pin"))
    out, _ = office.issuer("keys", "init", "--agency", HOME, "--agency", OTHER, *pin)
    office.issuer("keys", "load-transport", "transport-1", "--keys-file", str(office.folder / "transport.keys"), *pin)
    return out


def add_stock(office: Office) -> None:
    listed = office.folder / "delivery.csv"
    listed.write_text("serial\n" + "\n".join(SERIALS) + "\n")
    out, _ = office.issuer("stock", "add", "lô-1", "--transport", "transport-1", "--file", str(listed), login="the")
    assert out == "lô lô-1: thêm 3 phôi, 0 đã có\n"


def test_keys_are_made_once_and_the_single_root_is_named(office: Office) -> None:
    out = make_keys(office)
    assert "root-1" in out
    assert "danh sách tin cậy số 1 có hiệu lực" in out
    assert "chỉ có một khóa gốc" in out
    pin = ("--officer-pin-file", str(office.folder / "so.pin"))
    again, _ = office.issuer("keys", "init", "--agency", HOME, *pin)
    assert "root-1" not in again
    listed, _ = office.issuer("keys", "list")
    assert len(listed.splitlines()) == 21
    out, _ = office.issuer("keys", "trust-list", "--publish", "--out", str(office.folder / "trust.cose"), *pin)
    assert "số 3" in out
    with database.reading(office.factory) as session:
        roots = trust_list.roots(session)
        accepted = accept_trust_list((office.folder / "trust.cose").read_bytes(), roots, datetime.now(UTC))
    assert isinstance(accepted, Trust)
    pem, _ = office.issuer("keys", "export-root")
    assert pem.startswith("-----BEGIN CERTIFICATE-----")


def test_without_the_officer_no_key_is_made(office: Office) -> None:
    (office.folder / "wrong.pin").write_text("123456\n")
    wrong = ("--officer-pin-file", str(office.folder / "wrong.pin"))
    _, err = office.issuer("keys", "init", "--agency", HOME, *wrong, code=1)
    assert err.startswith("issuer: error: mã PIN của HSM sai")
    _, err = office.issuer("keys", "init", "--agency", HOME, code=2)
    assert "issuer: hint:" in err


def test_bad_transport_keys_are_refused(office: Office) -> None:
    (office.folder / "bad.keys").write_text("00 11 22\n")
    pin = ("--officer-pin-file", str(office.folder / "so.pin"))
    _, err = office.issuer("keys", "load-transport", "x", "--keys-file", str(office.folder / "bad.keys"), *pin, code=1)
    assert "ENC MAC DEK" in err


def test_an_office_takes_a_plastic_card_from_request_to_revocation(office: Office) -> None:
    make_keys(office)
    (number,) = office.people(1)
    request = office.issuer("cards", "request", number, "--form", "plastic", login="hr")[0].strip()
    _, err = office.issuer("cards", "approve", request, login="the", code=1)
    assert "không có quyền" in err
    with database.reading(office.factory) as session:
        (refused,) = audit.entries(session, action="refused")
    assert (refused.actor, refused.subject, refused.facts["action"]) == ("the", "policy.no_role", "card.approve")
    assert office.issuer("cards", "approve", request, login="duyet")[0].strip() == request
    card = office.issuer("cards", "allocate", request, login="the")[0].strip()
    assert "có hiệu lực" in office.issuer("cards", "activate", card, login="the")[0]
    assert "đã khóa thẻ" in office.issuer("cards", "block", card, "--reason", "lost", login="hr")[0]
    assert "đã mở khóa thẻ" in office.issuer("cards", "unblock", card, login="hr")[0]
    assert "đã thu hồi" in office.issuer("cards", "revoke", card, "--reason", "nghỉ việc", login="duyet")[0]
    shown, _ = office.issuer("cards", "show", card, login="hr")
    assert "Đã thu hồi" in shown
    assert "nghỉ việc" in shown
    _, err = office.issuer("cards", "unblock", card, login="the", code=1)
    assert err.startswith("issuer: error: không thực hiện được")


def test_a_whole_agency_is_asked_for_approved_and_given_blanks(office: Office) -> None:
    make_keys(office)
    add_stock(office)
    office.people(4)
    asked = office.issuer("cards", "request", "--agency", HOME, login="hr")[0].split()
    assert len(asked) == 4
    office.issuer("cards", "approve", "--agency", HOME, login="duyet")
    out, err = office.issuer("cards", "allocate", "--agency", HOME, login="the", code=1)
    assert len(out.split()) == 3
    assert "kho đã hết phôi" in err
    assert "1 trong 4 bị từ chối" in err
    counted, _ = office.issuer("stock", "list", login="the")
    assert counted.splitlines()[-1] == "trống 0, đã cấp 3, đã dùng 0, hỏng 0"
    listed, _ = office.issuer("cards", "list", login="hr")
    assert listed.count("Đã cấp phôi") == 3
    waiting, _ = office.issuer("cards", "list", "--requests", "--state", "approved", login="hr")
    assert len(waiting.splitlines()) == 1
    with database.reading(office.factory) as session:
        assert session.query(Card).count() == 3


def test_two_ways_to_name_them_are_not_mixed_and_nothing_waiting_is_said(office: Office) -> None:
    _, err = office.issuer("cards", "approve", login="duyet", code=1)
    assert "một đề nghị hoặc một cơ quan" in err
    _, err = office.issuer("cards", "approve", "--agency", HOME, login="duyet", code=1)
    assert "không có đề nghị nào" in err


def test_a_card_that_does_not_exist_is_said_so(office: Office) -> None:
    for name in ("x", str(uuid.uuid4())):
        _, err = office.issuer("cards", "show", name, login="hr", code=1)
        assert err.startswith("issuer: error: không có thẻ")


@pytest.mark.usefixtures("virtual")  # PC/SC looks once in a process for the way to its daemon
def test_encoding_without_a_reader_ends_with_a_hint(office: Office) -> None:
    make_keys(office)
    add_stock(office)
    (number,) = office.people(1)
    request = office.issuer("cards", "request", number, login="hr")[0].strip()
    office.issuer("cards", "approve", request, login="duyet")
    card = office.issuer("cards", "allocate", request, "--serial", SERIALS[1].lower(), login="the")[0].strip()
    _, err = office.issuer("cards", "encode", card, "--reader", "no such reader", login="the", code=1)
    assert "mất liên lạc với thẻ" in err
    assert "issuer: hint:" in err
    nowhere = ("cards", "encode", card, "--reader", "no such reader", "--product")
    _, err = office.issuer(*nowhere, "gold", login="the", code=1)
    assert "không có loại thẻ gold; các loại: themo, themo-attested, themo-vci, themo-vci-attested" in err
    _, err = office.issuer(*nowhere, "themo-vci", login="the", code=1)
    assert "mất liên lạc với thẻ" in err
    with database.reading(office.factory) as session:
        assert session.query(Card).one().stock_serial == SERIALS[1]


def test_lists_are_published_shown_and_written_to_files(office: Office) -> None:
    make_keys(office)
    shown, _ = office.issuer("keys", "crl", "list")
    assert [line.split()[:4] for line in shown.splitlines()] == [
        ["x509-ca-G09-1", "full", "1", "0"],
        ["x509-ca-G09-1", "delta", "1", "0"],
        ["x509-ca-H38-1", "full", "1", "0"],
        ["x509-ca-H38-1", "delta", "1", "0"],
        ["x509-root-1", "full", "1", "0"],
    ]
    assert office.issuer("keys", "crl", "publish")[0] == ""  # nothing is due
    out, _ = office.issuer("keys", "crl", "publish", f"x509-ca-{HOME}-1", "--full")
    assert out.splitlines() == [
        f"đã phát hành: x509-ca-{HOME}-1 delta số 2, 0 chứng thư",
        f"đã phát hành: x509-ca-{HOME}-1 full số 2, 0 chứng thư",
    ]
    pin = ("--officer-pin-file", str(office.folder / "so.pin"))
    assert "x509-root-1 full số 2" in office.issuer("keys", "crl", "publish", "--root", *pin)[0]
    folder = office.folder / "lists"
    out, _ = office.issuer("keys", "crl", "export", str(folder))
    assert len(out.splitlines()) == 8
    said, _ = office.issuer("keys", "crl", "check", str(folder / f"x509-ca-{HOME}-1.cer"))
    assert said == "chứng thư còn hiệu lực\n"
    _, err = office.issuer("keys", "crl", "publish", "x509-none", code=1)
    assert "không có cơ quan chứng thực x509-none" in err
    _, err = office.issuer("keys", "crl", "publish", "--root", code=2)
    assert err.startswith("issuer: error:")
