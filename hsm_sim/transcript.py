"""The transcript of a ceremony: one text made from its book, signed by the key that seals the HSM's log; and as PDF.

The signature is over the text in front of it, or over the whole PDF (beside it, in a file `.sig`). Whoever checks it
compares the key's fingerprint with the one that was read aloud, or gives the key that the auditor noted.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519

from hsm_sim.ceremony_book import Book, Line
from hsm_sim.ceremony_texts import TRANSCRIPT, both
from hsm_sim.errors import BadRequest, LogBroken
from hsm_sim.inputs import read_text

LABEL = b"themo-hsm-ceremony-1"
MARK = "----- chữ ký / signature (Ed25519) -----\n"
KEY_HEX_CHARS = 64
TEXT, PDF, SIGNATURE = "transcript.txt", "transcript.pdf", ".sig"
RULE = "=" * 78
MADE = "made "
"""Lines of the book that say who made a key; the step that it belongs to tells them."""


def body_of(book: Book) -> str:
    """The text of a finished ceremony."""
    lines = [TRANSCRIPT["title"][0], TRANSCRIPT["title"][1], RULE]
    for line in book.lines:
        if not line.step.startswith(MADE):
            lines += ["", *_told(line)]
    return "\n".join(lines) + "\n"


def _told(line: Line) -> list[str]:
    head = {"installation": "installation-keys"}.get(line.step, line.step.split()[0])
    name = line.step.partition(" ")[2]
    at = datetime.fromtimestamp(line.at_s, UTC)
    out = [f"{both(head)}{f': {name}' if name else ''}", f"  {at:%d/%m/%Y %H:%M:%S} UTC"]
    out.append(f"  {both('persons')}: {', '.join(line.persons)}")
    facts = line.facts
    for key in ("installation", "agencies", "officers", "auditors", "holders", "witnesses", "shares"):
        if line.step == "gather":
            told: Any = facts[key]
            out.append(f"  {both(key)}: {', '.join(told) if isinstance(told, list) else told}")
    if line.step == "gather":
        out += [f"  {both('persons_needed')}: {facts['persons_needed']}", f"  {both('plan')}: {facts['plan']}"]
    if line.step == "store":
        out += [f"  {both('share_of')} {name}: {shown}" for name, shown in facts["shares"].items()]
        out += [f"  {both('log_key')}: {facts['log_fingerprint']}", f"    {facts['log_key']}"]
    for key in facts.get("keys", []):
        scope = " ".join(key["scope"]) or "-"
        out.append(f"  {key['label']:<24} {key['use']:<12} {scope:<12} {key['shown']}")
        if key.get("may_leave"):
            out.append(f"    {both('leaves')}")
    if "together" in facts:
        out.append(f"  {both('together')}: {facts['together']}")
    if line.step == "backup":
        out += [f"  {both('backup_file')}: {facts['file']}", f"    {facts['sha256']}"]
        out.append(f"  {both('share_set')}: {facts['share_set']}; {both('shares')}: {facts['needed']}")
        for name, share in facts["holders"].items():
            out.append(f"  {both('backup_share_of')} {name}: #{share['number']}, {share['fingerprint']}")
        out.append(f"  {both('words_typed')}")
        out.append(f"  {both('trial')}: {facts['compared']} {both('compared')}")
    if line.step == "close":
        out += [f"  {both('log')}: {facts['log_lines']} {both('lines')}", f"    {facts['log_last']}"]
        out += [f"  {both('book')}:", f"    {facts['book']}"]
    return out


def write(book: Book, folder: Path, sign: Callable[[list[bytes]], list[bytes]], fonts: Path) -> tuple[Path, Path]:
    """Write text and PDF of a finished ceremony, signed. `sign` signs several with one opening of the HSM."""
    from hsm_sim.transcript_pdf import draw  # reportlab takes its time, and only this needs it

    store = book.find("store")
    if store is None or book.find("close") is None:
        raise BadRequest("the ceremony is not finished")
    key = str(store.facts["log_key"])
    body = body_of(book)
    text, pdf = folder / TEXT, folder / PDF
    gather = book.find("gather")
    drawn = draw(body, key, gather.persons if gather is not None else (), fonts)
    of_text, of_pdf = sign([LABEL + body.encode(), LABEL + drawn])
    pdf.write_bytes(drawn)
    pdf.with_name(pdf.name + SIGNATURE).write_text(f"{key}\n{of_pdf.hex()}\n", encoding="ascii")
    beside = text.with_name(text.name + ".new")
    beside.write_text(f"{body}{MARK}{key}\n{of_text.hex()}\n", encoding="utf-8")
    beside.replace(text)  # a ceremony that has this file is over: it is whole or not there
    return text, pdf


def verify(path: Path, key: str | None = None) -> str:
    """Check a transcript, text or PDF; answers the hex of the key that signed it. Raises LogBroken, BadRequest."""
    if path.suffix == ".pdf":
        body, rest = path.read_bytes(), read_text(path.with_name(path.name + SIGNATURE))
    else:
        text, mark, rest = read_text(path).partition(MARK)
        body = text.encode()
        if not mark:
            raise BadRequest(f"{path.name} bears no signature", "transcript.none")
    words = rest.split()
    if len(words) != 2 or len(words[0]) != KEY_HEX_CHARS:
        raise BadRequest(f"{path.name} bears no signature", "transcript.none")
    if key is not None and words[0] != key.strip().lower():
        raise LogBroken(f"{path.name} is signed by another key", "transcript.changed")
    try:
        public = ed25519.Ed25519PublicKey.from_public_bytes(bytes.fromhex(words[0]))
        public.verify(bytes.fromhex(words[1]), LABEL + body)
    except (InvalidSignature, ValueError) as error:
        raise LogBroken(f"{path.name} was changed: its signature is wrong", "transcript.changed") from error
    return words[0]
