"""Damage real QuPath files in all ways there are; each must be refused, or come back the same.

    python scripts/proofs/fuzz_codec.py --minutes 12 --seed 1 [--save FOLDER] [FILES...]

FILES are `data.qpdata` or `.qpproj`; without any, those of the test data and of `tests/data`. To
them come some that are made here. An input is refused when an error of ours says so in one line,
and accepted when it is read, cleared, scored and cleared again, and what was read is written back
byte for byte. Anything else (another exception, more memory or time than the limits, a crash)
fails: the input is saved.
Prints one JSON line.
"""

import argparse
import json
import mmap
import os
import random
import resource
import signal
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from qupath_hccmil.errors import HccMilError  # noqa: E402
from qupath_hccmil.qupath.native.native_results import (  # noqa: E402
    add_results,
    counts,
    read_data,
    remove_results,
)
from qupath_hccmil.qupath.native.qpdata import QpData  # noqa: E402
from qupath_hccmil.qupath.qpproj import read_project, with_our_metadata  # noqa: E402
from tests.qupath.big_image import big_data  # noqa: E402
from tests.qupath.big_results import some_results  # noqa: E402

BATCH = 400
# beyond what the process has before the first input; inputs are below 1 MB
MEMORY = 256 << 20
# of processor time
SECONDS = 10.0

REFUSED, SAME = "refused", "accepted, identical bytes"
NUMBERS = [0, 1, 2, 3, 4, 5, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF]
NUMBERS += [0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x00FFFFFF, 0x007E0000, 0x007E0001]
CODES = bytes(range(0x70, 0x7F))

Mutation = Callable[[random.Random, bytearray, list[bytes]], None]


def flip(rng: random.Random, data: bytearray, _: list[bytes]) -> None:
    for _time in range(rng.choice([1, 1, 1, 2, 8])):
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def replace(rng: random.Random, data: bytearray, _: list[bytes]) -> None:
    data[rng.randrange(len(data))] = rng.randrange(256)


def truncate(rng: random.Random, data: bytearray, _: list[bytes]) -> None:
    del data[rng.randrange(len(data)) :]


def splice(rng: random.Random, data: bytearray, files: list[bytes]) -> None:
    other = rng.choice(files)
    begin = rng.randrange(len(other))
    piece = other[begin : begin + rng.choice([8, 64, 512, len(other)])]
    at = rng.randrange(len(data) + 1)
    data[at : at + rng.choice([0, len(piece)])] = piece


def repeat(rng: random.Random, data: bytearray, _: list[bytes]) -> None:
    begin = rng.randrange(len(data))
    piece = data[begin : begin + rng.choice([1, 5, 20, 200])]
    data[begin:begin] = piece * rng.choice([1, 2, 50, 1000])


def cut(rng: random.Random, data: bytearray, _: list[bytes]) -> None:
    begin = rng.randrange(len(data))
    del data[begin : begin + rng.choice([1, 2, 4, 8, 100])]


def length(rng: random.Random, data: bytearray, _: list[bytes]) -> None:
    """Write an interesting number where a length or a count may be."""
    at = data.find(rng.choice(CODES), rng.randrange(len(data))) + 1
    width = rng.choice([1, 2, 4, 8])
    at += rng.choice([0, 0, 0, 5])
    if at + width <= len(data):
        number = rng.choice(NUMBERS) & (1 << 8 * width) - 1
        data[at : at + width] = number.to_bytes(width, "big")


def token(rng: random.Random, data: bytearray, _: list[bytes]) -> None:
    """Put another code in a code's place, or swap two."""
    at = [data.find(rng.choice(CODES), rng.randrange(len(data))) for _ in range(2)]
    if min(at) >= 0:
        one, two = at
        data[one], data[two] = rng.choice([(data[two], data[one]), (rng.choice(CODES), data[two])])


def mention(rng: random.Random, data: bytearray, _: list[bytes]) -> None:
    """Let a reference mention something else."""
    at = data.find(b"\x71\x00\x7e", rng.randrange(len(data)))
    if at >= 0 and at + 5 <= len(data):
        old = int.from_bytes(data[at + 3 : at + 5], "big")
        new = rng.choice([old + rng.randint(-9, 9), rng.randrange(0x10000), rng.randrange(64)])
        data[at + 3 : at + 5] = struct.pack(">H", new & 0xFFFF)


def nest(rng: random.Random, data: bytearray, _: list[bytes]) -> None:
    """Put something deep, long or odd into a text."""
    at = data.find(rng.choice([b"{", b"[", b":", b",", b'"']), rng.randrange(len(data)))
    if at >= 0:
        odd = [b"[" * 20_000, b'{"a":' * 5_000, b"9" * 5_000, b"NaN", b"-Infinity", b"1e999"]
        data[at:at] = rng.choice([*odd, b"null", b"\xff", b"\x00", b'"', b"\\ud800", b"true"])


BINARY: list[Mutation] = [
    flip, flip, replace, truncate, splice, repeat, cut, length, length, token, mention, nest,
]  # fmt: skip
TEXT: list[Mutation] = [flip, replace, truncate, splice, repeat, cut, nest, nest]


def mutated(seed: int, number: int, files: list[bytes]) -> bytes:
    """Input of a number: always the same for the same seed and files."""
    rng = random.Random(f"{seed}/{number}")
    chosen = rng.choice(files)
    binary = chosen[:2] == b"\xac\xed"
    group = [each for each in files if (each[:2] == b"\xac\xed") == binary]
    data = bytearray(chosen)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 6])):
        if data:
            rng.choice(BINARY if binary else TEXT)(rng, data, group)
    return bytes(data)


def outcome(content: bytes, scratch: Path) -> str:
    """What becomes of an input; any exception that is not ours passes through."""
    try:
        if content[:2] != b"\xac\xed":
            return _project_outcome(content, scratch)
        return _data_outcome(content)
    except HccMilError as error:
        return REFUSED if "\n" not in str(error) else "a refusal of several lines"


def _data_outcome(content: bytes) -> str:
    data = QpData(content)
    if data.to_bytes() != content:
        return "accepted, other bytes"
    annotations, _, _ = read_data(data)
    if data.to_bytes() != content:
        return "changed by reading"
    counts(data)
    remove_results(data)
    try:
        data.require_writable()
    except HccMilError:
        # read only
        return SAME
    base = data.to_bytes()
    found = [each.index for each in annotations]
    if len(found) > 1 and len(set(found)) == len(found):
        add_results(data, some_results(found, 3))
        return _cleared_outcome(data.to_bytes(), base)
    return SAME


def _cleared_outcome(scored: bytes, base: bytes) -> str:
    try:
        again = QpData(scored)
    except HccMilError as error:
        return f"what we wrote is refused: {error}"
    remove_results(again)
    return SAME if again.to_bytes() == base else "not the same when ours are taken out again"


def _project_outcome(content: bytes, scratch: Path) -> str:
    scratch.write_bytes(content)
    project = read_project(scratch)
    for image in project.images[:1]:
        same = json.dumps(json.loads(with_our_metadata(content, {image.id: {}})))
        if same != json.dumps(json.loads(content)) and b"HCC-MIL" not in content:
            return "accepted, another content"
    return SAME


class TooLongError(BaseException):
    """The limit of time."""


def fuzz(seed: int, first: int, files: list[bytes], state: mmap.mmap, answer: int) -> None:
    """Try a batch; `state` holds the number that is tried, `answer` gets the outcomes."""

    def stop(*_: object) -> None:
        raise TooLongError

    signal.signal(signal.SIGPROF, stop)
    in_use = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + MEMORY, in_use + MEMORY))
    found: Counter[str] = Counter()
    bad: list[tuple[int, str]] = []
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder) / "project.qpproj"
        for number in range(first, first + BATCH):
            state[:8] = struct.pack(">q", number)
            content = mutated(seed, number, files)
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            try:
                result = outcome(content, scratch)
            except TooLongError:
                result = f"more than {SECONDS:g} s"
            except Exception as error:
                result = repr(error)[:200]
            signal.setitimer(signal.ITIMER_PROF, 0)
            if result in (REFUSED, SAME):
                found[result] += 1
            else:
                bad.append((number, result))
    os.write(answer, json.dumps([found, bad]).encode("ascii"))


def batch(seed: int, first: int, files: list[bytes]) -> tuple[Counter[str], list[tuple[int, str]]]:
    """Try a batch in a process of its own: a crash ends that process alone."""
    state = mmap.mmap(-1, 8)
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            fuzz(seed, first, files, state, writer)
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        text = answer.read()
    _, status = os.waitpid(child, 0)
    if status or not text:
        number = struct.unpack(">q", state[:8])[0]
        return Counter(), [(number, f"the process ended with status {status}")]
    found, bad = json.loads(text)
    return Counter(found), [(number, result) for number, result in bad]


def default_files() -> list[Path]:
    """Real files of the test data, and of the repository."""
    data = Path(os.environ.get("HCCMIL_TEST_DATA") or ROOT.parent / "shared" / "data")
    places = [(data / "projects", "*/"), (ROOT / "tests" / "data", "**/")]
    return [
        path
        for place, deep in places
        for name in (f"{deep}data/*/data.qpdata", f"{deep}*.qpproj", f"{deep}*.qpdata")
        for path in sorted(place.glob(name))
    ]


def made_files() -> list[bytes]:
    """Cells enough to be unparsed, with and without our tiles among them."""
    plain = b"".join(big_data(60))
    data = QpData(plain)
    add_results(data, some_results([each.index for each in read_data(data)[0]], 40, missing=True))
    return [plain, data.to_bytes()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--minutes", type=float, default=12)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--save", type=Path, default=Path("fuzz-failures"))
    options = parser.parse_args()
    paths = options.files or default_files()
    files = [path.read_bytes() for path in dict.fromkeys(path.resolve() for path in paths)]
    files += made_files()
    # before the first fork, so that no child has to import it
    outcome(files[0], Path(os.devnull))
    began = time.monotonic()
    total: Counter[str] = Counter()
    failures: list[str] = []
    tried = 0
    while time.monotonic() - began < 60 * options.minutes:
        found, bad = batch(options.seed, tried, files)
        for number, reason in bad:
            options.save.mkdir(parents=True, exist_ok=True)
            path = options.save / f"{options.seed}-{number}.bin"
            path.write_bytes(mutated(options.seed, number, files))
            failures.append(f"{path}: {reason}")
            print(failures[-1], file=sys.stderr, flush=True)
        total += found
        tried += BATCH
    summary = {
        "inputs": sum(total.values()) + len(failures),
        **total,
        "failures": failures,
        "files": len(files),
        "seed": options.seed,
        "minutes": round((time.monotonic() - began) / 60, 1),
    }
    print(json.dumps(summary))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
