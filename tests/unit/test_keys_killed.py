"""A command that changes keys is killed at each of its steps and typed again: nothing is left over, nothing doubled.

A step is whatever stays when the process goes: a key made, a state changed, a commit. It is killed after each, so that
every state in which a command can leave database and HSM is gone on from. With a real process and SIGKILL:
`tests/link/test_keys_rotation.py`, `tests/link/test_keys_roots.py`.
"""

from collections.abc import Callable
from datetime import timedelta
from itertools import count
from pathlib import Path

import pytest
from card_register import ADMIN, HOME, NOW, Register, open_register
from key_steps import Killed, Room

from cardlink.statements.trust import KeyState, Trust, Use, accept_trust_list
from issuer import database
from issuer.trust import audit_key, ca, compromise, key_labels, rotation, setup, trust_list, x509_roots
from issuer.trust.setup import AgencyName, Roots

LATER = NOW + timedelta(days=1)
AGENCY = AgencyName(HOME, "Ủy ban nhân dân tỉnh Thử")
STEPS_MAX = 200


Command = Callable[[Register, Room], object]
COMMANDS: dict[str, Command] = {
    "init for one more agency": lambda register, room: setup.init(
        *(register.factory, room, ADMIN, AGENCY, [AgencyName("G01", "Bộ Mới")], Roots(), 10, LATER, lambda label: None)
    ),
    "rotate card": lambda register, room: rotation.rotate_signer(register.factory, room, ADMIN, "card", HOME, LATER),
    "rotate ca": lambda register, room: rotation.rotate_authority(
        register.factory, room, ADMIN, ca.ISSUING, AGENCY, LATER
    ),
    "rotate content": lambda register, room: rotation.rotate_authority(
        register.factory, room, ADMIN, ca.CONTENT, AGENCY, LATER
    ),
    "rotate card-master": lambda register, room: rotation.rotate_master(register.factory, room, ADMIN, LATER),
    "rotate audit": lambda register, room: rotation.rotate_audit(register.factory, room, ADMIN, HOME, LATER),
    "rotate root": lambda register, room: rotation.replace_roots(register.factory, room, ADMIN, Roots(3, 2), LATER),
    "rotate x509-root": lambda register, room: x509_roots.rotate(register.factory, room, ADMIN, LATER),
    "compromised x509-root": lambda register, room: compromise.compromised(
        register.factory, room, ADMIN, "x509-root-1", LATER
    ),
    "compromised audit": lambda register, room: audit_key.compromised(
        register.factory, room, ADMIN, f"audit-{HOME}-1", HOME, LATER
    ),
    "compromised card": lambda register, room: compromise.compromised(
        register.factory, room, ADMIN, f"card-{HOME}-1", LATER
    ),
    "compromised ca": lambda register, room: compromise.compromised(
        register.factory, room, ADMIN, f"x509-ca-{HOME}-1", LATER
    ),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_killed_at_each_step_it_is_typed_again_and_leaves_no_key_over(name: str, tmp_path: Path) -> None:
    command = COMMANDS[name]
    for left in count(1):
        assert left < STEPS_MAX
        folder = tmp_path / str(left)
        folder.mkdir()
        register = open_register(folder)
        room = Room(register, left)
        try:
            command(register, room)
        except Killed:
            room.left = None
        else:
            break
        command(register, room)
        rotation.sweep(register.factory, room, LATER)
        with database.reading(register.factory) as session:
            assert key_labels.unused(session, room) == []
            assert key_labels.known(session) <= set(room.made)
            trust = accept_trust_list(trust_list.current(session), trust_list.roots(session), LATER)
        assert isinstance(trust, Trust)
        active = [one for one in trust.content.keys if (one.use, one.scope) == (Use.CARD, (HOME,))]
        assert [one.state for one in active].count(KeyState.ACTIVE) == 1
    assert left > 2
