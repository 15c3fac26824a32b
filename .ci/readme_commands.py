"""Print the `asim` commands of the README's code blocks, one a line, without those that need other data."""

import re
import sys
from pathlib import Path

text = Path(sys.argv[1]).read_text()
for block in re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL):
    for line in block.splitlines():
        command = line.split("  #")[0].strip()
        if command.startswith("asim ") and "FOLDER" not in command:
            print(command)
