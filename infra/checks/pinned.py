"""Holds the workflows to three rules: python pinned.py [FOLDER]

- `uses:` names a commit of 40 digits, with its version in a comment (`# v1.2.3`); actions of this repository are free.
- A workflow says its permissions at the top.
- `run:` holds no `${{ … }}`: values go by `env:`, where a shell does not take them for commands.
"""

import re
import sys
from pathlib import Path

from ruamel.yaml import YAML

USES = re.compile(r"^\s*(?:-\s+)?uses:\s*(.+?)\s*$")
PINNED = re.compile(r"^[\w.-]+/[\w./-]+@[0-9a-f]{40}\s+# v\d+(\.\d+)*$")


def runs(node):
    """Every script in a workflow."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "run" and isinstance(value, str):
                yield node.lc.value(key)[0] + 1, value
            else:
                yield from runs(value)
    elif isinstance(node, list):
        for value in node:
            yield from runs(value)


def check(text):
    """The faults of one workflow: line and what is wrong."""
    for number, line in enumerate(text.splitlines(), 1):
        match = USES.match(line)
        if match and not match[1].startswith("./") and not PINNED.match(match[1]):
            yield number, f"`{match[1]}` is not a commit of 40 digits with its version in a comment"
    workflow = YAML(typ="rt").load(text)
    if "permissions" not in workflow:
        yield 1, "the workflow says no permissions at the top"
    for line, script in runs(workflow):
        if "${{" in script:
            yield line, "an expression within `run:`; hand it over by `env:`"


def main(folder):
    paths = sorted([*folder.glob("*.yml"), *folder.glob("*.yaml")])
    faults = [(path, *fault) for path in paths for fault in check(path.read_text())]
    for path, line, fault in faults:
        print(f"{path}:{line}: {fault}")
    if faults or not paths:
        raise SystemExit(1 if faults else f"{folder}: no workflows")
    print(f"ok: pinned actions, permissions and scripts of {len(paths)} workflows")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else ".github/workflows"))
