"""A door in this process beside a small centre: it takes what the centre has published, without feed or network."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from card_office import ADMIN, HOME, Blank, Centre
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from door_cards import Key
from door_world import ListLock, Machine

from cardlink.piv.tables import Interface
from cardlink.transport.loopback import Loopback
from issuer import database
from issuer.access import bundles, doors, rules
from issuer.access.doors import DoorPlan
from issuer.access.rules import Effect, RulePlan
from issuer.trust import signers, status, trust_list
from reader_daemon.clock import Clock
from reader_daemon.config import Config
from reader_daemon.daemon import Daemon
from reader_daemon.enrol import Enrolment


class NearDoor:
    """A door of HOME that lets everybody of HOME in."""

    def __init__(self, centre: Centre, folder: Path) -> None:
        self._centre = centre
        now = centre.clock()
        with database.transaction(centre.factory) as session:
            made = doors.add(session, ADMIN, DoorPlan(folder.name, "Tầng 1", "Sảnh", 0, HOME, {}), now)
            rules.add(session, ADMIN, made.id, RulePlan(Effect.ALLOW, agencies=(HOME,)), now)
            bundles.publish(session, centre.hsm, made.id, now)
            enrolment = Enrolment(made.id.bytes, made.name, HOME, trust_list.roots(session), 1)
        self._id = made.id
        folder.mkdir()
        config = Config(data_dir=folder)
        config.key_path.write_bytes(Key().private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        config.enrolment_path.write_bytes(enrolment.encode())
        machine = Machine(now)
        clock = Clock(0, wall=machine.wall, monotonic=machine.monotonic)
        self.daemon = Daemon.open(config, lock=ListLock(), clock=clock)
        self.hear()

    def hear(self) -> None:
        """Take everything that the centre has told by now."""
        now, state, nonce = self._centre.clock(), self.daemon.state, secrets.token_bytes(16)
        with database.reading(self._centre.factory) as session:
            raw, (_, bundle) = trust_list.current(session), bundles.current(session, self._id)
            signer = signers.status_signer(session, self._centre.hsm, now)
            lists = [status.snapshot(session, signer, one.n, now).body for one in status.lists(session)]
            fresh = status.fresh(signer, status.head(session), nonce, now)
        assert state.take_trust(raw) is None
        assert state.take_snapshots(lists, []) is None
        assert state.take_bundle(bundle) is None
        assert state.take_fresh(fresh, state.ask(nonce)) is None

    def tap(self, blank: Blank) -> str:
        """Lay a card on it: `granted`, or why not."""
        blank.chip.reset()
        result = self.daemon.loop.tap(Loopback(lambda apdu: blank.chip.transmit(apdu, Interface.CONTACTLESS)), "test")
        assert result.opened is (result.reason is None)
        return "granted" if result.reason is None else str(result.reason)


@contextmanager
def near_door(centre: Centre, folder: Path) -> Iterator[NearDoor]:
    """A door that is closed at the end."""
    door = NearDoor(centre, folder)
    try:
        yield door
    finally:
        door.daemon.close()
