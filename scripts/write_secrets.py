"""Writes .env from .env.example, with a random value for each <generated>. Never changes one that is there."""

import os
import re
import secrets
import sys
from pathlib import Path


def main(folder: Path) -> int:
    text = re.sub("<generated>(?=\n)", lambda _: secrets.token_hex(32), (folder / ".env.example").read_text())
    try:
        file = os.open(folder / ".env", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        print(".env is there already, and stays as it is.")
        return 0
    with os.fdopen(file, "w") as out:
        out.write(text)
    print(".env is written: passwords and the cluster's token, for your eyes only.")
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(__file__).resolve().parent.parent))
