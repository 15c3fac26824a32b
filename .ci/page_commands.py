"""Run the commands of pages in the current folder, after their titled blocks are written there as files.

Left out are commands that need other data ("FOLDER"), or take minutes, as their comment says, or are repeated. A plain
`asim` command runs in a fork of this process, which has imported torch and Lightning for all of them.
"""

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import lightning.pytorch.cli  # noqa: F401
import timm  # noqa: F401
import torchvision  # noqa: F401

from asim_lightning.cli import main


def commands(page: Path) -> Iterator[str]:
    """The commands of a page, whose titled blocks become files."""
    text = page.read_text(encoding="utf-8")
    for name, block in re.findall(r'```\w+ title="(.*?)"\n(.*?)```', text, flags=re.DOTALL):
        Path(name).write_text(block, encoding="utf-8")
    for block in re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL):
        for line in block.splitlines():
            command, _, comment = (part.strip() for part in line.partition("  #"))
            if command.startswith(("asim ", "python ")) and "FOLDER" not in command and "minutes" not in comment:
                yield command


def run(command: str) -> int:
    """Exit status of a command."""
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    words = list(lexer)
    if words[0] != "asim" or any(set(word) <= set("();<>|&") for word in words):
        return subprocess.run(["bash", "-euo", "pipefail", "-c", command], stdin=subprocess.DEVNULL).returncode
    sys.stdout.flush()
    if child := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    sys.argv = words
    sys.exit(main(words[1:]))


done: set[str] = set()
for argument in sys.argv[1:]:
    for each in commands(Path(argument)):
        if each in done:
            continue
        done.add(each)
        started = time.perf_counter()
        print(f"$ {each}", flush=True)
        if status := run(each):
            sys.exit(f"exit status {status}: {each}")
        print(f"({time.perf_counter() - started:.0f} s)", flush=True)
