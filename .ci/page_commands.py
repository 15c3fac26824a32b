"""Run the commands of pages in the current folder, after their titled blocks are written there as files.

Left out are commands that need other data ("FOLDER"), or are repeated. Commands that take minutes, as their comment
says, run only with --minutes, and the others only without it. A plain `asim` command runs in a fork of this process,
which has imported the package for all of them. --record FILE writes a page of the commands and of what they print.
"""

import argparse
import os
import re
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot  # noqa: F401

import asim_lightning.cli.parser
import asim_lightning.cli.studies  # noqa: F401
from asim_lightning.cli import main


def commands(page: Path, minutes: bool) -> Iterator[str]:
    """The commands of a page that take minutes, or those that do not. The page's titled blocks become files."""
    text = page.read_text(encoding="utf-8")
    for name, block in re.findall(r'```\w+ title="(.*?)"\n(.*?)```', text, flags=re.DOTALL):
        Path(name).write_text(block, encoding="utf-8")
    for block in re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL):
        for line in block.splitlines():
            command, _, comment = (part.strip() for part in line.partition("  #"))
            is_ours = command.startswith(("asim ", "python ")) and "FOLDER" not in command
            if is_ours and ("minutes" in comment) == minutes:
                yield command


def run(command: str) -> tuple[int, str]:
    """Exit status of a command, and what it prints, which is printed here too."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words = list(lexer)
    is_plain = words[0] == "asim" and not any(set(word) <= set("();<>|&") for word in words)
    sys.stdout.flush()
    source, end = os.pipe()
    if not (child := os.fork()):
        for stream in (1, 2):
            os.dup2(end, stream)
        # streams of their own, as the ones before may have been those of a file, in which one can seek
        sys.stdout, sys.stderr = (os.fdopen(os.dup(stream), "w", encoding="utf-8") for stream in (1, 2))
        if not is_plain:
            os.execvp("bash", ["bash", "-euo", "pipefail", "-c", command])
        sys.argv = words
        sys.exit(main(words[1:]))
    os.close(end)
    lines = []
    with open(source, encoding="utf-8") as output:
        for line in output:
            print(line, end="", flush=True)
            lines.append(line)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), "".join(lines)


options = argparse.ArgumentParser()
options.add_argument("pages", nargs="+", type=Path)
options.add_argument("--record", type=Path)
options.add_argument("--minutes", action="store_true")
given = options.parse_args()
outputs: dict[str, str] = {}
for page in given.pages:
    for each in commands(page, given.minutes):
        if each in outputs:
            continue
        started = time.perf_counter()
        print(f"$ {each}", flush=True)
        status, outputs[each] = run(each)
        if status:
            sys.exit(f"exit status {status}: {each}")
        print(f"({time.perf_counter() - started:.0f} s)", flush=True)
if given.record:
    blocks = [f"```bash\n{each}\n```\n```text\n{text.strip()}\n```\n" for each, text in outputs.items()]
    given.record.write_text("\n".join(["# What the checks print\n", *blocks]), encoding="utf-8")
