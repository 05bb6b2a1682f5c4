"""Stands in for an agent of Ray's that nobody asks anything: says that it has no ports, and ends with its raylet.

A raylet waits until both of its agents have said which ports they have, and ends when one of them does. Runs as a
process of its own, with the standard library alone: `stand_in.py SESSION_FOLDER NODE PORT_NAME...`
"""

import os
import sys
import time
from collections.abc import Sequence

LOOK_SECONDS = 1.0


def main(folder: str, node: str, port_names: Sequence[str]) -> None:
    raylet = os.getppid()
    for name in port_names:
        path = f"{folder}/{name}_{node}"
        with open(f"{path}.new", "w") as file:
            file.write("-1")  # as Ray's own agent says it that has no server
        os.rename(f"{path}.new", path)
    while os.getppid() == raylet:
        time.sleep(LOOK_SECONDS)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
