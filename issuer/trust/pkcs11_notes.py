"""What we write into a token beside its keys, as private objects of data: card PINs that wait, states of keys.

All of it, and every object of a key, is CKA_PRIVATE, and nothing else is looked at: objects that are not private may be
made, and destroyed, in a session without any PIN.
"""

from typing import Any

import cbor2
import pkcs11
from pkcs11 import Attribute, ObjectClass, Session

from issuer.trust.pkcs11_wire import Refused

APPLICATION = "themo"
JOB, STATE = "job:", "state:"
OURS: dict[Attribute, Any] = {
    Attribute.CLASS: ObjectClass.DATA,
    Attribute.APPLICATION: APPLICATION,
    Attribute.PRIVATE: True,
}
FIXED: dict[Attribute, Any] = {Attribute.TOKEN: True, Attribute.MODIFIABLE: False}


class Notes:
    """The notes of one token, through a session that is logged in. The library's errors pass through, but
    for that of a device which keeps none: Refused."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def states(self, label: str | None = None) -> dict[str, str]:
        """The states of one key, or of all: those that are not active have a note that says so."""
        found = self._read(STATE, label)
        return {name: value.decode("ascii") for name, value in found.items()}

    def set_state(self, label: str, state: str) -> None:
        """Note the state of a key in the place of the one before."""
        self._destroy(STATE + label)
        self._write(STATE + label, state.encode("ascii"))

    def job(self, job: str) -> tuple[bytes, bytes] | None:
        """The card and the PIN of a job."""
        raw = self._read(JOB, job).get(job)
        if raw is None:
            return None
        kdd, pin = cbor2.loads(raw)
        return bytes(kdd), bytes(pin)

    def keep_job(self, job: str, kdd: bytes, pin: bytes) -> None:
        """Keep the PIN of a job until it is told."""
        self._write(JOB + job, cbor2.dumps([kdd, pin]))

    def forget_job(self, job: str) -> None:
        """Destroy the PIN of a job."""
        self._destroy(JOB + job)

    def jobs(self) -> int:
        """How many PINs wait."""
        return len(self._read(JOB, None))

    def _read(self, kind: str, name: str | None) -> dict[str, bytes]:
        wanted = OURS if name is None else {**OURS, Attribute.LABEL: kind + name}
        rows = [(str(one[Attribute.LABEL]), one[Attribute.VALUE]) for one in self._session.get_objects(wanted)]
        return {label.removeprefix(kind): bytes(value) for label, value in rows if label.startswith(kind)}

    def _write(self, label: str, value: bytes) -> None:
        try:
            self._session.create_object({**OURS, **FIXED, Attribute.LABEL: label, Attribute.VALUE: value})
        except (pkcs11.AttributeValueInvalid, pkcs11.TemplateInconsistent, pkcs11.FunctionNotSupported) as error:
            kind = type(error).__name__
            raise Refused("denied", f"the device keeps no data objects, states and PINs: {kind}") from error

    def _destroy(self, label: str) -> None:
        for one in list(self._session.get_objects({**OURS, Attribute.LABEL: label})):
            one.destroy()
