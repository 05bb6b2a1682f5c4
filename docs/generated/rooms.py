"""The page of the architecture: the ideas, the rooms of the code, and who uses whom, read from its imports."""

from __future__ import annotations

import ast
import html
from collections import Counter
from functools import cache
from pathlib import Path

from docs.generated.choices import table as markdown_table

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("sweeper", "reports", "search_spaces", "trainers")  # each uses only itself and those after it
CELL = 17  # pixels
NAMES = 190  # pixels that the names of the rows take
HEAD = 26  # pixels that the numbers of the columns take


@cache
def files_by_room() -> dict[str, list[Path]]:
    """The folders of each package, with their files and those of the folders in them.

    The files of a package's own folder make two rooms where it has others: those that use the others, and those that do
    not, which the others stand on.
    """
    rooms: dict[str, list[Path]] = {}
    for package in PACKAGES:
        own = sorted(ROOT.joinpath(package).glob("*.py"))
        below = {path.parent for path in ROOT.joinpath(package).rglob("*.py")} - {ROOT / package}
        upper = {path for path in own if any(_folder_of(module) in below for module in _imported(path))}
        while more := {
            path for path in own if path not in upper and upper & {_file_of(name) for name in _imported(path)}
        }:
            upper |= more
        if upper:
            rooms[f"{package}: above"] = sorted(upper)
        rooms[f"{package}: below" if below else package] = [path for path in own if path not in upper]
        for folder in sorted(folder for folder in below if folder.parent == ROOT / package):
            rooms[folder.relative_to(ROOT).as_posix()] = sorted(folder.rglob("*.py"))
    return rooms


@cache
def arrows() -> Counter[tuple[str, str]]:
    """How many files of a room use another room, by both their names."""
    room_of = {path: room for room, paths in files_by_room().items() for path in paths}
    found: Counter[tuple[str, str]] = Counter()
    for path, room in room_of.items():
        used = {room_of[target] for name in _imported(path) if (target := _file_of(name)) in room_of}
        found.update((room, target) for target in used if target != room)
    return found


@cache
def ordered() -> list[str]:
    """The rooms, package by package, and within one each before those that it uses, as far as there is no circle."""
    order: list[str] = []
    for package in PACKAGES:
        left = [room for room in files_by_room() if _package_of(room) == package]
        while left:
            # Of a circle the room that the fewest of the others use comes first.
            users = {room: sum((other, room) in arrows() for other in left) for room in left}
            order.append(min(left, key=lambda room: (users[room], left.index(room))))
            left.remove(order[-1])
    return order


def against_the_order() -> list[tuple[str, str]]:
    """The arrows that point up: each closes a circle of rooms."""
    return [(user, used) for user, used in arrows() if ordered().index(user) > ordered().index(used)]


def table() -> str:
    """Every room: what it says of itself, its size, and the rooms that it uses, by their numbers in the picture."""
    rows = []
    for number, room in enumerate(ordered(), 1):
        paths = files_by_room()[room]
        lines = sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)
        uses = [str(place) for place, other in enumerate(ordered(), 1) if (room, other) in arrows()]
        rows.append((str(number), f"`{room}`", purpose(room), str(len(paths)), f"{lines:,}", ", ".join(uses)))
    return markdown_table(("", "room", "holds", "files", "lines", "uses"), rows)


def circles() -> str:
    """A sentence on the arrows that point up."""
    up = [f"`{user}` uses `{used}`" for user, used in against_the_order()]
    return f"Red, and closing a circle: {'; '.join(up)}." if up else "No arrow points up: there is no circle of rooms."


def ideas() -> str:
    """The ideas in brief, as the README has them. Raises ValueError where it has none."""
    section = (ROOT / "README.md").read_text(encoding="utf-8").partition("## The ideas in brief\n")[2]
    if not section:
        raise ValueError("README.md has no section 'The ideas in brief', and the page of the architecture shows it")
    return section.partition("\n## ")[0].strip().replace("](docs/", "](")


def purpose(room: str) -> str:
    """What a room says of itself: the first line of its docstring. Raises ValueError where it says nothing."""
    folder, _, part = room.partition(":")
    if part:
        return ", ".join(f"`{path.stem}`" for path in files_by_room()[room])
    text = ast.get_docstring(ast.parse((ROOT / folder / "__init__.py").read_text(encoding="utf-8")))
    if not text:
        raise ValueError(f"{folder}/__init__.py has no docstring, and the page of the architecture shows it")
    return text.partition("\n")[0]


def picture() -> str:
    """The arrows as a picture: a row a room, a mark in the column of each room that it uses."""
    names = ordered()
    side = len(names) * CELL
    drawn = [_stripe(place) for place in range(0, len(names), 2)]
    for place, name in enumerate(names):
        middle = HEAD + place * CELL + CELL - 5
        drawn.append(f'<text x="{NAMES - 34}" y="{middle}" text-anchor="end">{name}</text>')
        drawn.append(f'<text x="{NAMES - 8}" y="{middle}" text-anchor="end" class="number">{place + 1}</text>')
        across = NAMES + place * CELL + CELL // 2
        drawn.append(f'<text x="{across}" y="{HEAD - 8}" text-anchor="middle" class="number">{place + 1}</text>')
        drawn.append(_square(place, place, "itself", name))
    for (user, used), count in sorted(arrows().items()):
        row, column = names.index(user), names.index(used)
        kind = "up" if column < row else f"down-{1 if count < 3 else 2 if count < 8 else 3}"
        files = "file uses" if count == 1 else "files use"
        drawn.append(_square(row, column, kind, f"{user}: {count} {files} {used}"))
    size = f"0 0 {NAMES + side + 2} {HEAD + side + 2}"
    title = f"{len(names)} rooms; a mark in a row says that this room uses that of the column"
    return (
        f'```{{raw}} html\n<div class="rooms"><svg viewBox="{size}" role="img" aria-label="{title}">\n'
        + "\n".join(drawn)
        + "\n</svg></div>\n```"
    )


def _stripe(place: int) -> str:
    width = NAMES + len(ordered()) * CELL
    return f'<rect x="0" y="{HEAD + place * CELL}" width="{width}" height="{CELL}" class="stripe"/>'


def _square(row: int, column: int, kind: str, title: str) -> str:
    left, top = NAMES + column * CELL + 2, HEAD + row * CELL + 2
    return (
        f'<rect x="{left}" y="{top}" width="{CELL - 4}" height="{CELL - 4}" class="{kind}">'
        f"<title>{html.escape(title)}</title></rect>"
    )


def _package_of(room: str) -> str:
    return room.partition("/")[0].partition(":")[0]


def _file_of(module: str) -> Path:
    """The file that a module of ours would have: for a package that of its docstring."""
    path = ROOT.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() and (path / "__init__.py").exists() else path.with_suffix(".py")


def _folder_of(module: str) -> Path:
    return _file_of(module).parent


@cache
def _imported(path: Path) -> set[str]:
    """The modules that a file imports, wherever in it; of `from package import module` the module."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            below = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name for name in below if _file_of(name).exists()} or {node.module}
    return found
