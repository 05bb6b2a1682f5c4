"""What a cluster runs for `sweeper launch --cluster`: sees that it can, then is the command line."""

import json
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def main(arguments: "list[str]", folder: Path) -> int:  # an old Python must be able to read this far
    """Returns the exit code; 2 before anything starts, where this machine is not what the sweep was submitted from."""
    wanted = json.loads((folder / "submission.json").read_text())["versions"]
    try:
        ray = version("ray")
    except PackageNotFoundError:
        ray = "missing"
    for name, here in (("python", "{}.{}".format(*sys.version_info)), ("ray", ray)):
        if here != wanted[name]:
            print(
                f"sweeper: error: cluster: its {name} is {here}, and the sweep was submitted from one with "
                f"{wanted[name]}; both must be the same",
                file=sys.stderr,
            )
            return 2
    from sweeper.cli.main import main as sweeper

    return sweeper(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path.cwd()))
