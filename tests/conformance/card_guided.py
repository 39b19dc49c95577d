"""APDUs led by coverage: atheris (libFuzzer) looks for bytes that reach code of the card which none reached before.

    python tests/conformance/card_guided.py INPUTS SEED

Each input is a start, and up to eight APDUs: a known one with changes, a known header with other data, or bare bytes.
What must hold after each is the same as in `fuzz_moves.py`. Inputs that reached something are kept in
`.cache/soak/card` and are where the next run begins; one that broke the card lies beside them.
"""

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["cardos", "cardlink"]):
    from fuzz_moves import STARTS, begun, examples, step

CORPUS = Path(__file__).resolve().parent.parent.parent / ".cache" / "soak" / "card"
APDUS_OF_AN_INPUT = 8
INPUT_BYTES_MAX = 1024
HELD_MB_MAX = 768


def one_input(raw: bytes) -> None:
    """Play one input. Raises Broken, which ends the run and keeps the input."""
    data = atheris.FuzzedDataProvider(raw)
    start = STARTS[data.ConsumeIntInRange(0, len(STARTS) - 1)]
    known = examples(is_stranger=start.is_stranger)
    session, store = begun(start)
    for _ in range(APDUS_OF_AN_INPUT):
        if not data.remaining_bytes():
            return
        shape, is_inside = data.ConsumeIntInRange(0, 3), data.ConsumeBool()
        apdu = known[data.ConsumeIntInRange(0, len(known) - 1)]
        if shape == 1:
            changed = bytearray(apdu)
            for _ in range(data.ConsumeIntInRange(1, 4)):
                changed[data.ConsumeIntInRange(0, len(changed) - 1)] = data.ConsumeIntInRange(0, 255)
            apdu = bytes(changed)
        elif shape == 2:
            body = data.ConsumeBytes(data.ConsumeIntInRange(1, 200))
            apdu = apdu[:4] + bytes((len(body),)) + body if body else apdu[:4]
        elif shape == 3:
            apdu = data.ConsumeBytes(data.ConsumeIntInRange(0, 300))
        step(session, store, apdu, start, is_inside=is_inside)


def main(inputs: int, seed: int) -> None:
    """Run so many inputs; the process ends with 0 when all held."""
    CORPUS.mkdir(parents=True, exist_ok=True)
    atheris.Setup(
        [
            sys.argv[0],
            f"-runs={inputs}",
            f"-seed={seed}",
            f"-max_len={INPUT_BYTES_MAX}",
            f"-rss_limit_mb={HELD_MB_MAX}",
            f"-artifact_prefix={CORPUS.parent}/broken-",
            "-len_control=0",
            "-print_final_stats=1",
            "-verbosity=0",
            str(CORPUS),
        ],
        one_input,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
