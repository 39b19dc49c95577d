"""The data objects inside a container: in the table's order, none unknown, none twice, FE 00 last."""

from collections.abc import Iterable

from cardlink.errors import Malformed
from cardlink.iso7816 import tlv
from cardlink.piv.tables import Container

ERROR_DETECTION_CODE = 0xFE


def decode_fields(
    row: Container, content: bytes, required: Iterable[int], *, inner: tuple[int, ...] = ()
) -> dict[int, bytes]:
    """Read a container's content (without 53) into its fields by tag.

    `inner` replaces the row's tags where old cards may hold more. Raises Malformed for an unknown or repeated tag, for
    another order than the table's ("all TLVs in the order of the appendix"), a missing one of `required`, or FE with
    a value. Source: SP 800-73pt1-5, Appendix A.
    """
    known = inner or row.inner
    try:
        objects = tlv.parse(content)
    except Malformed as error:
        raise Malformed(row.name, str(error)) from error
    place = -1
    for tag, value in objects:
        if tag not in known:
            raise Malformed(row.name, f"tag {tag:X} does not belong here")
        if known.index(tag) < place:
            raise Malformed(row.name, f"tag {tag:X} is out of order")
        place = known.index(tag)
        if tag == ERROR_DETECTION_CODE and value:
            raise Malformed(row.name, "FE has a value")
    fields = dict(objects)
    for tag in required:
        if tag not in fields:
            raise Malformed(row.name, f"tag {tag:X} is missing")
    return fields


def encode_fields(objects: Iterable[tuple[int, bytes]]) -> bytes:
    """Write the fields in the order given, closed by FE 00."""
    return tlv.encode_all(objects) + b"\xfe\x00"
