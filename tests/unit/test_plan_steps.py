"""The plan of a personalisation as a value: order, names, what depends on what."""

from cardlink.piv.tables import CARD_CREDENTIAL, IDENTITY_STATEMENT, SECURITY_OBJECT, KeyRef
from issuer.cards.objects import HASHED
from issuer.cards.plan import Act, plan_for
from issuer.cards.profiles import PRODUCTS, THEMO, needs_pin
from issuer.trust.profiles import CARD_PROFILES

PLAN = plan_for(THEMO)
NAMES = [step.name for step in PLAN.steps]


def test_every_step_has_a_name_of_its_own() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert [PLAN.number(name) for name in NAMES] == list(range(1, len(NAMES) + 1))
    assert PLAN.act(f"write-{CARD_CREDENTIAL.tag:X}") is Act.WRITE


def test_the_transport_keys_go_first_and_reading_back_comes_last() -> None:
    assert PLAN.steps[0].act is Act.ROTATE
    assert [step.act for step in PLAN.steps[-2:]] == [Act.SECURE, Act.READ_BACK]


def test_keys_are_made_before_what_is_signed_about_them_and_that_before_it_is_written() -> None:
    acts = [step.act for step in PLAN.steps]
    prepare = acts.index(Act.PREPARE)
    assert max(n for n, act in enumerate(acts) if act is Act.MAKE_KEY) < prepare
    assert prepare < min(n for n, act in enumerate(acts) if act is Act.WRITE)


def test_the_maker_is_asked_after_the_keys_are_made_and_before_anything_is_signed_about_them() -> None:
    assert Act.ATTEST not in [step.act for step in PLAN.steps]
    for plan in (plan_for(THEMO, asks_maker=True), plan_for(PRODUCTS["themo-vci-attested"])):
        acts = [step.act for step in plan.steps]
        assert acts.index(Act.ATTEST) + 1 == acts.index(Act.PREPARE)


def test_the_credential_and_the_identity_are_written_last() -> None:
    written = [step.container for step in PLAN.steps if step.act is Act.WRITE]
    assert written[-2:] == [CARD_CREDENTIAL, IDENTITY_STATEMENT]
    assert written.index(SECURITY_OBJECT) > max(written.index(row) for row in HASHED)


def test_the_four_slots_have_their_certificate_profiles() -> None:
    made = {step.slot.ref: step.slot.certificate_profile for step in PLAN.steps if step.slot is not None}
    assert set(made) == {KeyRef.PIV_AUTH, KeyRef.SIGNATURE, KeyRef.KEY_MANAGEMENT, KeyRef.CARD_AUTH}
    assert set(made.values()) == set(CARD_PROFILES)


def test_who_the_holder_is_stands_behind_the_pin() -> None:
    assert needs_pin(IDENTITY_STATEMENT)
    assert not needs_pin(CARD_CREDENTIAL)
