"""Print the `asim` commands of code blocks of some files, one a line, without those that need other data or take
minutes, as their comment says."""

import re
import sys
from pathlib import Path

text = "\n".join(Path(path).read_text() for path in sys.argv[1:])
for block in re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL):
    for line in block.splitlines():
        command, _, comment = (part.strip() for part in line.partition("  #"))
        if command.startswith("asim ") and "FOLDER" not in command and "minutes" not in comment:
            print(command)
