"""Plug-ins in the storage: plugins/<digest>/, all files of one state, from where workers take them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from sweeper.plugins.folder import PlugInFolder
from sweeper.plugins.importing import imported, imported_folder, is_imported, versions_imported
from sweeper.storage.base import Place, checked_key, is_key, missing
from trainers.errors import InvalidInput
from trainers.plugins.known import SHOWN, PlugIn

LIST = "plugin.json"  # its name, its version, its files; written last
FILES = "files"
HOME = "plugins"


def keep(storage: Place, plugin: PlugIn) -> None:
    """Writes an imported plug-in to the storage, unless it is there. Raises StoreError."""
    folder, place = imported_folder(plugin.digest), _place(storage, plugin.digest)
    assert folder is not None, "what is kept was imported"
    if (place / LIST).is_file():
        return
    for name, content in folder.files.items():
        _below(place / FILES, name).put(content)
    listed = {"name": plugin.name, "version": plugin.version, "files": sorted(folder.files)}
    (place / LIST).put(json.dumps(listed, indent=1).encode())


def kept_folder(storage: Place, digest: str) -> PlugInFolder:
    """The files of a plug-in in the storage, which are those of the digest. Raises InvalidInput."""
    place = _place(storage, digest)
    text = missing((place / LIST).read_text)
    if text is None:
        raise InvalidInput(f"plugins: {digest[:SHOWN]}… is not in {storage}; launch the spec beside its folder")
    try:
        listed = json.loads(text)
        files = {str(name): _below(place / FILES, str(name)).read_bytes() for name in listed["files"]}
        folder = PlugInFolder(str(listed["name"]), files)
    except (ValueError, KeyError, TypeError, FileNotFoundError) as error:
        raise InvalidInput(f"plugins: {place} is damaged: {error}") from None
    if folder.digest != digest:
        raise InvalidInput(f"plugins: {place} is damaged: its files have the digest {folder.digest[:SHOWN]}…")
    return folder


def kept_digests(storage: Place) -> dict[str, str]:
    """The names of all plug-ins in the storage by their digests; '?' of one that was not written to its end."""
    found = {}
    for digest in (storage / HOME).names():
        text = missing((storage / HOME / digest / LIST).read_text) if is_key(digest) else None
        if is_key(digest):
            found[digest] = str(json.loads(text)["name"]) if text else "?"
    return found


def remove_kept(storage: Place, digest: str) -> None:
    """Removes a plug-in from the storage; where that is broken off, what is left of it is not taken for one."""
    place = _place(storage, digest)
    (place / LIST).remove()
    place.remove_all()


def parts_of(storage: Place, digest: str) -> dict[str, bytes]:
    """All that the storage has of a plug-in, by its path in any storage. Raises InvalidInput."""
    folder, home = kept_folder(storage, digest), f"{HOME}/{digest}"
    files = {f"{home}/{FILES}/{name}": content for name, content in folder.files.items()}
    return {**files, f"{home}/{LIST}": (_place(storage, digest) / LIST).read_bytes()}


def keep_parts(storage: Place, parts: Mapping[str, bytes]) -> None:
    """Writes what `parts_of` gave to another storage. Raises StoreError, ValueError for a path of something else."""
    for name in sorted(parts, key=lambda name: name.endswith(f"/{LIST}")):
        home, digest, rest = name.split("/", 2)
        if home != HOME:
            raise ValueError(f"no part of a plug-in: {name!r}")
        _below(_place(storage, digest), rest).put(parts[name])


def use_kept(storage: Place, digests: Mapping[str, str]) -> None:
    """Lets this process train with plug-ins of the storage, told by key and digest. Raises what their code raises."""
    for key, digest in digests.items():
        name, _, version = key.partition(" version ")
        plugin = PlugIn(name.partition("@")[0], digest, version)
        if not is_imported(plugin):
            imported(imported_folder(digest) or kept_folder(storage, digest))


def plugin_versions(digests: Mapping[str, str]) -> dict[str, str]:
    """What a record says of the plug-ins that it was trained with: digests, and the versions of what they import."""
    told = dict(digests)
    for digest in digests.values():
        folder = imported_folder(digest)
        told |= versions_imported(folder) if folder else {}
    return told


def other_states(storage: Place, plugins: Iterable[PlugIn]) -> list[str]:
    """A line for every plug-in of which the storage has, under the same version, other files. Loud, as it must be."""
    wanted = {(plugin.name, plugin.version): plugin.digest for plugin in plugins if plugin.version}
    lines = []
    for digest in (storage / HOME).folders_with(LIST) if wanted else ():
        listed = json.loads((storage / HOME / digest / LIST).read_text())
        mine = wanted.get((listed["name"], listed["version"]), digest)
        if mine != digest:
            lines.append(
                f"WARNING: {listed['name']} version {listed['version']} was {digest[:SHOWN]}… before and is "
                f"{mine[:SHOWN]}… now: its author says that results are the same, and they are not told apart"
            )
    return lines


def _place(storage: Place, digest: str) -> Place:
    return storage / HOME / checked_key(digest)


def _below(place: Place, name: str) -> Place:
    for part in name.split("/"):
        if part in ("", ".", ".."):
            raise ValueError(f"no file of a plug-in: {name!r}")
        place = place / part
    return place
