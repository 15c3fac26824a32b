"""Print the commands of pages, one a line, after their titled blocks are written as files into the current folder.

Left out are commands that need other data ("FOLDER") or take minutes, as their comment says.
"""

import re
import sys
from pathlib import Path

for page in sys.argv[1:]:
    text = Path(page).read_text(encoding="utf-8")
    for name, block in re.findall(r'```\w+ title="(.*?)"\n(.*?)```', text, flags=re.DOTALL):
        Path(name).write_text(block, encoding="utf-8")
    for block in re.findall(r"```bash\n(.*?)```", text, flags=re.DOTALL):
        for line in block.splitlines():
            command, _, comment = (part.strip() for part in line.partition("  #"))
            if command.startswith(("asim ", "python ")) and "FOLDER" not in command and "minutes" not in comment:
                print(command)
