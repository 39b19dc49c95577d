"""`./run pictures`: tell the story in this process and take the README's pictures of faces and console."""

import argparse
import os
import secrets
import shutil
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from PIL import Image

from demo.books import Books
from demo.console import ConsoleSession
from demo.console_pictures import console_pictures
from demo.display import Display
from demo.office import Office, Place, free_port, make_secrets
from demo.slots import InProcessSlots
from demo.story import Story
from demo.supervisor import Supervisor
from demo.texts import TEXTS

OUT = Path(__file__).resolve().parent.parent / "docs" / "img"
PHOTOGRAPHER = "chup.anh"
FACE_WIDTH_PX = 860
CONSOLE_WIDTH_PX = 1000
STAGES = 6


def main() -> int:
    """Make every picture in docs/img again."""
    argparse.ArgumentParser(prog="./run pictures", description=__doc__).parse_args()
    folder = Path(tempfile.mkdtemp(prefix="themo-pictures-"))
    display = Display("vi", TEXTS, STAGES)
    try:
        with display, ExitStack() as stack:
            _run(folder, display, stack)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def _run(folder: Path, display: Display, stack: ExitStack) -> None:
    place = Place(folder)
    environ = {**os.environ, "THEMO_CONFIG": str(place.config)}
    supervisor = stack.enter_context(Supervisor(folder / "logs", make_secrets(), environ))
    office = Office(place, supervisor, free_port(None), free_port(None))
    office.write_settings()
    slots = InProcessSlots(place.config, lambda: supervisor.descriptor("user-pin"), environ)
    stack.callback(slots.end)
    story = Story(display, office, supervisor, slots, lambda: Books(place.config))
    story.keys()
    story.register()
    story.request()
    story.encode(None, is_pcsc=False)
    story.faces()
    story.door()
    story.strangers()
    OUT.mkdir(exist_ok=True)
    for side, file in zip(("front", "back"), office.draw_faces([story.issued[0].uuid])[0], strict=True):
        _shrink(file, OUT / f"face-{side}.png", FACE_WIDTH_PX)
    roles = ("hr@*", "approver@*", "card_office@*", "door_admin@*", "auditor@*", "admin@*")
    office.issuer("users", "add", PHOTOGRAPHER, "--name", "Người chụp ảnh", *(w for r in roles for w in ("--role", r)))
    password = secrets.token_urlsafe(24)
    ConsoleSession(office.console_url).accept(office.invite(PHOTOGRAPHER), password)
    for file in console_pictures(office.console_url, PHOTOGRAPHER, password, folder / "console"):
        _shrink(file, OUT / file.name, CONSOLE_WIDTH_PX)
        print(OUT / file.name)


def _shrink(source: Path, target: Path, width: int) -> None:
    """Write a smaller picture with a palette: it is looked at in a README, and lives in the history for good."""
    with Image.open(source) as image:
        whole = image.convert("RGB")
    if whole.width > width:
        whole = whole.resize((width, round(whole.height * width / whole.width)), Image.Resampling.LANCZOS)
    whole.quantize(256).save(target, optimize=True)


if __name__ == "__main__":
    sys.exit(main())
