"""The keys of an installation and its trust lists (F8): made once, signed by the roots, numbered, sent to the feed."""

from dataclasses import fields, replace
from datetime import timedelta
from pathlib import Path

import pytest
from card_register import ADMIN, HOME, HR, NOW, OTHER, Register, open_register
from signing_keys import LocalKeys

from cardlink.statements.refusal import Reason, Refused
from cardlink.statements.trust import KeyState, Trust, Use, accept_trust_list
from issuer import database, errors, outbox
from issuer.audit.tables import AuditKeyRow
from issuer.trust import ca, setup, signers, status, trust_list
from issuer.trust.port import Capabilities, KeyExists, KeyInfo
from issuer.trust.setup import AgencyName, Roots
from issuer.trust.tables import RootKeyRow, SignerRow, TrustListRow

NAMES = [AgencyName(HOME, "Ủy ban nhân dân tỉnh Thử"), AgencyName(OTHER, "Bộ Thử nghiệm")]
INSTALLATION = AgencyName(HOME, "Trung tâm thẻ")
MORE = [AgencyName("G01", "Bộ Mới")]


class StrictKeys(LocalKeys):
    """Keys that are made once, as an HSM has it."""

    def generate(self, label: str, kind: str, use: str, scope: tuple[str, ...]) -> KeyInfo:
        if label in self.made:
            raise KeyExists("hsm.key_exists", detail=label)
        return super().generate(label, kind, use, scope)


@pytest.fixture
def register(tmp_path: Path) -> Register:
    return open_register(tmp_path)


def accepted(register: Register) -> Trust:
    with database.reading(register.factory) as session:
        trust = accept_trust_list(trust_list.current(session), trust_list.roots(session), NOW)
    assert isinstance(trust, Trust)
    return trust


def init(register: Register, keys: LocalKeys, roots: Roots = Roots(), made: list[str] | None = None) -> int:
    on_key = (made if made is not None else []).append
    return setup.init(register.factory, keys, ADMIN, INSTALLATION, NAMES, roots, 10, NOW, on_key)


def test_a_door_accepts_the_list_and_finds_every_use_in_its_scope(register: Register) -> None:
    content = accepted(register).content
    found = {(key.use, key.scope) for key in content.keys}
    expected = {(Use(use), (agency.code,)) for use in signers.AGENCY_USES for agency in NAMES}
    assert found == expected | {(Use(use), (HOME,)) for use in signers.INSTALLATION_USES}
    assert {anchor.scope for anchor in content.anchors} == {(HOME,), (OTHER,)}
    (entry,) = content.lists
    assert (entry.number, entry.length) == (1, 1024)
    assert {key.kid: key.use for key in content.keys}[entry.signer] is Use.STATUS
    assert content.expires_s - content.issued_s <= 30 * 86_400
    assert all(key.state is KeyState.ACTIVE for key in content.keys)


def test_what_a_card_signer_signs_outlives_the_cards(register: Register) -> None:
    for key in accepted(register).content.keys:
        margin = key.verifies_until_s - key.signs_until_s
        assert margin > 5 * 366 * 86_400 if key.use in (Use.CARD, Use.IDENTITY, Use.QR) else margin == 30 * 86_400


def test_the_list_goes_to_the_feed_in_the_same_transaction(register: Register) -> None:
    with database.reading(register.factory) as session:
        (row,) = [one for one in outbox.after(session, 0) if one.kind == outbox.Kind.TRUST]
        assert (row.key, row.body) == ("1", trust_list.current(session))


def test_the_next_list_follows_and_the_older_one_is_refused(register: Register) -> None:
    first = accepted(register)
    with database.transaction(register.factory) as session:
        assert trust_list.publish(session, register.keys, NOW + timedelta(hours=1)) == 2
    with database.reading(register.factory) as session:
        second = accept_trust_list(trust_list.current(session), first, NOW + timedelta(hours=1))
        assert isinstance(second, Trust)
        back = accept_trust_list(first.raw, second, NOW + timedelta(hours=1))
    assert isinstance(back, Refused)
    assert back.reason is Reason.OLDER


def test_a_second_run_makes_no_key_and_takes_over_those_of_a_lost_transaction(tmp_path: Path) -> None:
    register = open_register(tmp_path)
    keys = StrictKeys()
    keys.made = dict(register.keys.made)
    made: list[str] = []
    assert init(register, keys, made=made) == 2
    assert made == []
    with database.transaction(register.factory) as session:
        session.delete(session.get_one(SignerRow, f"qr-{HOME}-1"))
    init(register, keys, made=made)
    assert made == []
    assert len(accepted(register).content.keys) == 10


def test_a_label_that_holds_another_key_is_not_taken_over(register: Register) -> None:
    keys = StrictKeys()
    keys.made = dict(register.keys.made)
    label = f"qr-{HOME}-1"
    private, info = keys.made[label]
    keys.made[label] = private, replace(info, scope=(OTHER,))
    with database.transaction(register.factory) as session:
        session.delete(session.get_one(SignerRow, label))
    with pytest.raises(errors.Refused) as refused:
        init(register, keys)
    assert (refused.value.code, refused.value.facts["label"]) == ("trust.other_key", label)


def test_roots_are_not_changed_by_running_the_setup_again(register: Register) -> None:
    with pytest.raises(errors.Refused) as refused:
        init(register, register.keys, Roots(3, 2))
    assert refused.value.code == "trust.roots_exist"


def test_a_device_without_ed25519_is_refused_before_any_key_is_made(register: Register) -> None:
    can = Capabilities(*[True] * len(fields(Capabilities)))
    without = replace(can, has_ed25519=False)
    setup.require_kinds(register.factory, without)  # the key is there already, in whatever HSM
    with database.transaction(register.factory) as session:
        for row in session.query(AuditKeyRow):
            session.delete(row)
    setup.require_kinds(register.factory, can)
    with pytest.raises(errors.Refused) as refused:
        setup.require_kinds(register.factory, without)
    assert refused.value.code == "trust.no_ed25519"


@pytest.mark.parametrize("roots", [Roots(2, 3), Roots(2, 0), Roots(0, 0)])
def test_a_threshold_that_cannot_be_met_is_refused(register: Register, roots: Roots) -> None:
    with pytest.raises(errors.Refused, match=r"trust\.bad_threshold"):
        init(register, register.keys, roots)


def test_two_of_three_roots_sign_and_one_alone_does_not(register: Register) -> None:
    with database.transaction(register.factory) as session:
        for row in (*session.query(RootKeyRow), *session.query(TrustListRow)):
            session.delete(row)
    keys = LocalKeys()
    keys.made = {label: one for label, one in register.keys.made.items() if not label.startswith("root-")}
    init(register, keys, Roots(3, 2))
    with database.reading(register.factory) as session:
        raw, roots = trust_list.current(session), trust_list.roots(session)
    assert (roots.threshold, len(roots.keys)) == (2, 3)
    assert isinstance(accept_trust_list(raw, roots, NOW), Trust)
    own = accepted(register).content
    alone = replace(own, roots=replace(own.roots, threshold=2))
    kid = roots.keys[0].kid()
    signed = trust_list.sign_list(alone, [(kid, lambda data: keys.sign("root-1", "root", data))])
    refused = accept_trust_list(signed, roots, NOW)
    assert isinstance(refused, Refused)
    assert refused.reason is Reason.THRESHOLD_NOT_MET


def test_only_an_administrator_makes_keys(register: Register) -> None:
    with pytest.raises(errors.Forbidden, match=r"policy\.no_role"):
        setup.init(register.factory, register.keys, HR, INSTALLATION, MORE, Roots(), 10, NOW, lambda label: None)


def test_one_more_agency_gets_its_keys_and_a_new_list(register: Register) -> None:
    made: list[str] = []
    keys = StrictKeys()
    keys.made = register.keys.made
    assert setup.init(register.factory, keys, ADMIN, INSTALLATION, MORE, Roots(), 10, NOW, made.append) == 2
    assert len(made) == 7
    assert ("G01",) in {key.scope for key in accepted(register).content.keys}
    assert register.audited(made[0]) == ["key.made"]


def test_the_keys_of_a_new_installation_are_counted_for_the_display(register: Register) -> None:
    assert setup.count_keys(1, 2) == len(register.keys.made)


def test_the_nearest_signer_is_found_and_a_missing_one_named(register: Register) -> None:
    with database.reading(register.factory) as session:
        signer = signers.signer_for(session, register.keys, f"{HOME}.01", "card", NOW)
        assert (signer.agency, signer.scope) == (HOME, (HOME,))
        with pytest.raises(errors.NotFound) as refused:
            signers.signer_for(session, register.keys, "G01", "card", NOW)
        assert (refused.value.code, refused.value.facts["agency"]) == ("trust.no_signer", "G01")
        with pytest.raises(errors.NotFound, match=r"trust\.no_signer"):
            signers.signer_for(session, register.keys, HOME, "card", NOW + timedelta(days=5 * 365))


def test_a_list_is_due_when_it_ends_soon_or_lacks_a_status_list(register: Register) -> None:
    with database.transaction(register.factory) as session:
        assert not trust_list.is_due(session, NOW)
        assert trust_list.is_due(session, NOW + timedelta(days=17))
        status.create_list(session, 4, NOW)
        assert trust_list.is_due(session, NOW)
        trust_list.publish(session, register.keys, NOW)
        assert not trust_list.is_due(session, NOW)


def test_before_the_first_list_there_is_none(tmp_path: Path) -> None:
    register = open_register(tmp_path)
    with database.transaction(register.factory) as session:
        for row in [*session.query(trust_list.TrustListRow), *session.query(RootKeyRow)]:
            session.delete(row)
        session.flush()
        assert trust_list.current_number(session) == 0
        assert trust_list.is_due(session, NOW)
        with pytest.raises(errors.NotFound, match=r"trust\.no_list"):
            trust_list.current(session)
        with pytest.raises(errors.NotFound, match=r"trust\.no_root"):
            trust_list.publish(session, register.keys, NOW)


def test_the_root_is_exported_as_pem(register: Register) -> None:
    with database.reading(register.factory) as session:
        assert ca.root_pem(session, NOW).startswith(b"-----BEGIN CERTIFICATE-----")
        assert ca.chain_pem(session, HOME, NOW).count(b"BEGIN CERTIFICATE") == 2
