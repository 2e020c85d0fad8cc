"""Fuzz the C that reads what comes from outside: frames, requests, blobs. tests/fuzz holds the targets.

    python tools/fuzz.py run TARGET --seconds 600 --keep    libFuzzer (clang), from the kept inputs on
    python tools/fuzz.py replay                             the kept inputs through gcc's sanitizers
    python tools/fuzz.py coverage                           lines and branches that they reach

A target's kept inputs are one file of tests/fuzz/corpus: each behind its length as 16 bits, low byte first.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FUZZ = ROOT / "tests" / "fuzz"
CORPUS = FUZZ / "corpus"
CORE, LINK = ROOT / "firmware_bridge" / "core", ROOT / "firmware_bridge" / "link"
SIM = [ROOT / "tests" / "c" / "link" / name for name in ("board.c", "host.c", "models.c")]
TARGETS = ("frame", "link", "blob")
INCLUDES = [f"-I{CORE / 'include'}", f"-I{CORE / 'src'}", f"-I{LINK / 'include'}"]
WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror")
SANITIZERS = "-fsanitize=address,undefined"
LONGEST = 1200


def sources(folder: Path) -> list[Path]:
    """The C files that a folder's CMakeLists.txt lists."""
    text = (folder / "CMakeLists.txt").read_text(encoding="utf-8")
    return [folder / name for name in re.findall(r"src/\w+\.c", text)]


def build(target: str, output: Path) -> None:
    """Compile a target with gcc's sanitizers and a main that runs packed files."""
    files = [FUZZ / f"fuzz_{target}.c", FUZZ / "main.c", *SIM, *sources(CORE), *sources(LINK)]
    command = ["gcc", *WARNINGS, "-g", "-O1", SANITIZERS, "-fno-sanitize-recover=all", *INCLUDES]
    subprocess.run([*command, *files, "-o", output], check=True, cwd=output.parent)


def build_fuzzer(target: str, output: Path) -> None:
    """Compile a target with libFuzzer.

    Only what is tested, and the flash that it writes to, is instrumented, and comparisons are not traced:
    that gives six times as many executions a second.
    """
    tested = [*sources(CORE), *sources(LINK), SIM[0]]
    flags = ["-fno-sanitize-recover=all", f"{SANITIZERS},fuzzer-no-link", "-fno-sanitize-coverage=trace-cmp"]
    command = ["clang", *WARNINGS, "-g", "-O2", *INCLUDES, "-c"]
    subprocess.run([*command, *flags, *tested], check=True, cwd=output.parent)
    subprocess.run([*command, *SIM[1:], FUZZ / f"fuzz_{target}.c"], check=True, cwd=output.parent)
    objects = sorted(output.parent.glob("*.o"))
    subprocess.run(["clang", f"{SANITIZERS},fuzzer", *objects, "-o", output], check=True)


def unpack(data: bytes) -> list[bytes]:
    """The inputs of a packed file."""
    inputs, at = [], 0
    while at < len(data):
        n = int.from_bytes(data[at : at + 2], "little")
        inputs.append(data[at + 2 : at + 2 + n])
        at += 2 + n
    return inputs


def pack(inputs: list[bytes]) -> bytes:
    """The packed file of these inputs, shortest first."""
    return b"".join(
        len(item).to_bytes(2, "little") + item for item in sorted(set(inputs), key=lambda i: (len(i), i))
    )


def kept(target: str) -> Path:
    """The packed file of a target."""
    return CORPUS / f"{target}.bin"


def unpack_into(folder: Path, target: str) -> None:
    """Write a target's kept inputs as files of their own."""
    folder.mkdir()
    for item in unpack(kept(target).read_bytes()) if kept(target).exists() else []:
        (folder / hashlib.sha256(item).hexdigest()[:16]).write_bytes(item)


def run(target: str, seconds: int, *, keep: bool) -> int:
    """Fuzz one target; keep: put the smallest set of inputs that reaches as much into the repository."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        program, found, small = work / "fuzz", work / "found", work / "small"
        unpack_into(found, target)
        build_fuzzer(target, program)
        environment = os.environ | {"ASAN_OPTIONS": "quarantine_size_mb=8"}
        command = [str(program), f"-max_len={LONGEST}", "-timeout=20", f"-artifact_prefix={Path.cwd()}/"]
        options = [f"-max_total_time={seconds}", "-print_final_stats=1", str(found)]
        code = subprocess.run([*command, *options], env=environment, check=False).returncode
        if code == 0 and keep:
            small.mkdir()
            subprocess.run([*command, "-merge=1", small, found], env=environment, check=True)
            CORPUS.mkdir(exist_ok=True)
            kept(target).write_bytes(pack([p.read_bytes() for p in small.iterdir()]))
    return code


def replay() -> int:
    """The kept inputs of every target through its sanitized program."""
    with tempfile.TemporaryDirectory() as name:
        for target in TARGETS:
            program = Path(name) / target
            build(target, program)
            done = subprocess.run([program, kept(target)], capture_output=True, text=True, check=False)
            print(f"{target}: {done.stdout.strip() or done.stderr[-3000:]}")
            if done.returncode:
                return 1
    return 0


def coverage() -> int:
    """Lines and branches of the sources that the kept inputs of all targets reach, as gcov counts them."""
    print(f"{'source':12s} {'lines':>17s} {'branches taken':>17s}")
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        command = ["gcc", *WARNINGS, "-O0", "--coverage", *INCLUDES]
        subprocess.run([*command, "-c", *sources(CORE), *sources(LINK)], check=True, cwd=work)
        for target in TARGETS:
            files = [FUZZ / f"fuzz_{target}.c", FUZZ / "main.c", *SIM, *work.glob("*.o")]
            subprocess.run([*command, *files, "-o", target], check=True, cwd=work)
            subprocess.run([work / target, kept(target)], check=True, stdout=subprocess.DEVNULL)
        for path in [
            *sources(LINK),
            *(CORE / "src" / f"{name}.c" for name in ("blob", "load", "model", "classes")),
        ]:
            done = subprocess.run(
                ["gcov", "-b", "-n", f"{path.stem}.gcda"],
                capture_output=True,
                text=True,
                check=True,
                cwd=work,
            )
            found = re.search(
                re.escape(path.name) + r"'\nLines executed:([\d.]+)% of (\d+)\n"
                r"Branches executed:.*\nTaken at least once:([\d.]+)% of (\d+)",
                done.stdout,
            )
            if found is None:
                print(done.stdout, file=sys.stderr)
                return 1
            print(f"{path.name:12s} {found[1]:>6s} % of {found[2]:>5s} {found[3]:>6s} % of {found[4]:>5s}")
    return 0


def main() -> int:
    """Parse the command line and do what it says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run", help="libFuzzer from the kept inputs on; needs clang")
    running.add_argument("target", choices=TARGETS)
    running.add_argument("--seconds", type=int, default=600)
    running.add_argument("--keep", action="store_true", help="put what was found into tests/fuzz/corpus")
    commands.add_parser("replay", help="the kept inputs through gcc's sanitizers")
    commands.add_parser("coverage", help="lines and branches that the kept inputs reach")
    arguments = parser.parse_args()
    compiler = "clang" if arguments.command == "run" else "gcc"
    if shutil.which(compiler) is None:
        print(f"{compiler} is not installed", file=sys.stderr)
        return 2
    if arguments.command == "run":
        return run(arguments.target, arguments.seconds, keep=arguments.keep)
    return replay() if arguments.command == "replay" else coverage()


if __name__ == "__main__":
    sys.exit(main())
