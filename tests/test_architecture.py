"""The rules of the house, held: its rooms, who imports whom, and who may import what."""

import ast
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("trainers", "search_spaces", "sweeper", "reports")

# The rooms of each package, and the files that stand in its hall. A room uses itself and those below it in its list.
ROOMS: dict[str, tuple[str, ...]] = {
    "sweeper": (
        "__init__", "__main__", "cluster_entry", "interface", "cli", "sweeps", "tracking", "launch", "search",
        "planning", "records", "plugins", "storage", "stages", "text",
    ),
    "reports": ("__init__", "sections", "pictures", "document", "analysis", "tracked", "request"),
    "search_spaces": (
        "chains", "loading", "json_schema", "expansion", "overrides", "spec", "ranges", "row_names", "labels",
        "arm_words", "inheritance", "fields", "yaml_reader", "published",
    ),
    "trainers": (
        "__init__", "checks", "training", "step", "tasks", "plugin_facts", "costs", "tickets", "optimization", "recipe",
        "conversions", "methods", "kernels", "networks", "data", "plugins", "streams", "numerics", "sources",
        "readable", "hashing", "errors", "kept_epochs", "cache_folder",
    ),
}  # fmt: skip
# Of the packages, each uses itself and those after it here; but only these use reports.
ORDER = ("sweeper", "reports", "search_spaces", "trainers")
READ_REPORTS = ("sweeper/cli/", "sweeper/interface/")
MOST_FILES = 14  # of code in one folder

THIRD_PARTIES = {
    "trainers": {"torch", "torchvision", "numpy", "pydantic", "safetensors", "sklearn", "triton", "pynvml", "PIL"},
    "search_spaces": {"pydantic", "yaml"},
    "sweeper": {"click", "ray", "optuna", "mlflow", "rich", "torch", "pydantic", "safetensors", "yaml"}
    | {"obstore", "pandas"},
    "reports": {"mlflow", "pandas", "numpy", "scipy", "matplotlib", "jinja2"},
}
# What is imported in these files and nowhere else, so that it can be replaced there and nowhere else.
ONLY_IN = {
    "ray": {
        "sweeper/launch/ray_tune.py",
        "sweeper/launch/ray_session.py",
        "sweeper/launch/ray_worker.py",
        "sweeper/launch/last_words.py",
        "sweeper/launch/cluster/sight.py",
        "sweeper/launch/cluster/workforce.py",
    }
    | {"sweeper/launch/ray_jobs.py", "sweeper/launch/ray_nodes.py", "sweeper/launch/own_ray/servers.py"},
    "mlflow": {"sweeper/tracking/mlflow_client.py", "reports/tracked/runs.py"},  # one writes, one reads
    "optuna": {f"sweeper/search/optuna_{name}.py" for name in ("study", "cell", "terms", "journal")},
    "obstore": {"sweeper/storage/service.py"},
    "matplotlib": {"reports/pictures/canvas.py"},
    "yaml": {"search_spaces/spec.py", "search_spaces/yaml_reader.py"},
    "rich": {"sweeper/cli/live.py"},
    "triton": {f"trainers/kernels/triton_{name}.py" for name in ("kernels", "intervals", "ranks")},
    "pynvml": {"trainers/costs/meters.py"},
    "PIL": {"trainers/data/image_check.py"},  # which torchvision brings
    "sklearn": set(),  # its digits are read without importing it: that takes a second
}
# Where a program may look at its environment or its arguments; everything else is told.
READS_THE_ENVIRONMENT = {
    "sweeper/cli/main.py",  # its arguments, and what a shell asks; variables that set an option are Click's to read
    "sweeper/cli/commands/mlflow.py",  # hands it on to MLflow's server
    "sweeper/cluster_entry.py",  # a program of its own, which a cluster runs
    "trainers/checks.py",  # sees that a plug-in leaves it as it is
    "sweeper/launch/orphans.py",  # a program of its own, run beside a launch
    "sweeper/launch/own_ray/stand_in.py",  # another
    "sweeper/launch/own_ray/ask_for_worker.py",  # another
    "sweeper/launch/own_ray/fork_workers.py",  # another
}
# Where any exception at all may be caught: at the boundary of a trial, and at that of a command.
BOUNDARIES = {"sweeper/launch/worker.py", "sweeper/cli/main.py"}
LONGEST_TEST_NAME = 80  # letters: a line of `pytest -q` that a reader takes in
# Named before this was a rule; the list only becomes shorter.
NAMED_BEFORE = {
    "test_a_service_that_lets_two_create_the_same_object_is_refused_before_anything_starts",
    "test_the_lock_of_a_launch_on_another_machine_is_taken_over_only_once_nothing_of_it_changes",
    "test_the_claim_of_another_machine_holds_as_long_as_its_owner_touches_it_whatever_the_clocks_say",
    "test_two_sweeps_that_share_stages_train_each_once_at_the_same_time_and_one_sweep_is_launched_once",
    "test_what_a_killed_launch_was_training_another_one_takes_over_from_its_last_saved_epoch",
    "test_ctrl_c_stops_cleanly_and_says_how_to_go_on_and_nobody_else_may_launch_meanwhile",
    "test_what_is_watched_is_printed_whenever_it_changes_and_shown_in_place_at_a_terminal",
    "test_every_completed_trial_is_exported_with_the_accuracy_and_the_bits_that_its_record_has",
}
VAGUE_NAMES = {"utils", "util", "common", "helpers", "misc", "manager", "managers"}
# Imported only where there is a CUDA device, and triton with torch.
NEEDS_TRITON = ONLY_IN["triton"]
# A machine with a GPU and little else trains all the same.
NOT_NEEDED_TO_TRAIN = (
    "ray",
    "mlflow",
    "optuna",
    "pandas",
    "matplotlib",
    "scipy",
    "sklearn",
    "yaml",
    "rich",
    "jinja2",
    "triton",
    "pynvml",
)


def imported_modules(source: str) -> set[str]:
    """Every absolute module that the source imports anywhere: in functions and under TYPE_CHECKING too."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute here, so that they can be found"
            # `from sweeper import cli` imports sweeper.cli.main; for other names the module itself is what counts.
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)} - {None}
    return found


def top_level(modules: set[str]) -> set[str]:
    """The packages that the modules belong to, the standard library left out."""
    return {module.partition(".")[0] for module in modules} - sys.stdlib_module_names - {"__future__"}


def reads_the_environment(source: str) -> bool:
    """Whether os.environ is read, os.getenv called or sys.argv used; setting a variable for others is no reading."""
    tree = ast.parse(source)
    written = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            written.add(node.value)
        if isinstance(node, ast.Attribute) and node.attr in ("update", "setdefault"):
            written.add(node.value)
    names = {("os", "environ"), ("os", "getenv"), ("sys", "argv")}
    return any(
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and (node.value.id, node.attr) in names
        and node not in written
        for node in ast.walk(tree)
    )


def catches_anything(source: str) -> bool:
    """Whether an except clause swallows every Exception; to clean up and raise again is no swallowing."""
    return any(
        isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) in ("Exception", "BaseException"))
        and not (isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None)
        for node in ast.walk(ast.parse(source))
    )


def imports_fixtures(source: str) -> bool:
    """Whether a conftest or a module of tests is imported: what tests share has a module of its own."""
    parts = [module.split(".") for module in imported_modules(source) if module.partition(".")[0] == "tests"]
    return any(part == "conftest" or part.startswith("test_") for module in parts for part in module)


SOURCES = {
    path.relative_to(ROOT).as_posix(): path for package in PACKAGES for path in ROOT.joinpath(package).rglob("*.py")
}


@cache
def imports() -> dict[str, set[str]]:
    """What each file imports. Here and below on demand: every process that runs tests side by side collects these."""
    return {name: imported_modules(path.read_text()) for name, path in SOURCES.items()}


def test_imports_are_found_wherever_they_hide():
    source = "import a.b\nfrom c import d\nif TYPE_CHECKING:\n    import e\ndef f():\n    from g.h import i\n"
    assert top_level(imported_modules(source)) == {"a", "c", "e", "g"}
    with pytest.raises(AssertionError, match="line 1: imports are absolute"):
        imported_modules("from . import sibling")


def room_of(name: str) -> tuple[str, str]:
    """The package and the room in which a file stands: ('sweeper', 'stages') of sweeper/stages/forest.py."""
    package, _, rest = name.partition("/")
    return package, rest.partition("/")[0].removesuffix(".py")


def files_imported(name: str) -> set[str]:
    """The files of the four packages that a file imports; of a package that is imported as such, its __init__.py."""
    found = set()
    for module in imports()[name]:
        path = module.replace(".", "/")
        found |= {file for file in (f"{path}.py", f"{path}/__init__.py") if file in SOURCES}
    # `from a.b import c` names a.b too: where c is a file of its own, that file is what is meant.
    return {
        file
        for file in found
        if not (file.endswith("/__init__.py") and any(other.startswith(file[:-11]) for other in found - {file}))
    }


@cache
def arrows() -> dict[str, set[str]]:
    """The files that each file imports."""
    return {name: files_imported(name) for name in SOURCES}


def circles(arrows: Mapping[str, set[str]]) -> list[list[str]]:
    """Files that import each other in a loop: those from which a way leads back to themselves, by the way."""
    found: list[list[str]] = []
    for start in arrows:
        ways, seen = [[start]], {start}
        while ways:
            way = ways.pop()
            for file in arrows.get(way[-1], ()):
                if file == start:
                    found.append([*way, start])
                    ways = []
                    break
                if file not in seen:
                    seen.add(file)
                    ways.append([*way, file])
    return found


def test_a_circle_is_found_whoever_is_in_it():
    assert circles({"a": {"b"}, "b": {"c"}, "c": set()}) == []
    assert {way[0] for way in circles({"a": {"b"}, "b": {"c"}, "c": {"b"}})} == {"b", "c"}


def test_no_file_imports_itself_by_way_of_others():
    """Imports for type checking alone are counted: a reader follows them, too."""
    assert not circles(arrows())


def test_every_file_stands_in_a_room():
    rooms = {room_of(name) for name in SOURCES}
    known = {(package, room) for package, rooms in ROOMS.items() for room in (*rooms, "__init__")}
    assert rooms <= known and {(package, room) for package, rooms in ROOMS.items() for room in rooms} <= rooms


@pytest.mark.parametrize("name", SOURCES)
def test_arrows_between_rooms_point_one_way(name):
    package, room = room_of(name)
    for file in arrows()[name]:
        other_package, other_room = room_of(file)
        if other_package != package:
            assert ORDER.index(package) < ORDER.index(other_package), f"{name} imports {file}"
            assert other_package != "reports" or name.startswith(READ_REPORTS), f"{name} imports {file}"
        elif other_room != "__init__":
            assert ROOMS[package].index(room) <= ROOMS[package].index(other_room), f"{name} imports {file}"


def test_no_folder_is_a_hall():
    files = [path for package in PACKAGES for kind in ("*.py", "*.c") for path in ROOT.joinpath(package).rglob(kind)]
    count = Counter(path.parent.relative_to(ROOT).as_posix() for path in files if path.name != "__init__.py")
    assert not {folder: number for folder, number in count.items() if number > MOST_FILES}


@pytest.mark.parametrize("name", SOURCES)
def test_a_package_imports_only_the_third_parties_it_declares(name):
    package = name.partition("/")[0]
    assert top_level(imports()[name]) - set(PACKAGES) <= THIRD_PARTIES[package]


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_is_imported_in_its_own_files_only(library):
    assert {name for name, modules in imports().items() if library in top_level(modules)} == ONLY_IN[library]


def test_of_what_runs_sweeps_only_the_python_interface_knows_frames():
    using = {
        name for name, modules in imports().items() if name.startswith("sweeper/") and "pandas" in top_level(modules)
    }
    assert using == {"sweeper/interface/sweep.py"}


def test_reading_the_environment_is_told_from_setting_it():
    for source in ("os.environ['A']", "os.environ.get('A')", "'A' in os.environ", "os.getenv('A')", "sys.argv[1:]"):
        assert reads_the_environment(source)
    for source in ("os.environ['A'] = '1'", "os.environ.update(A='1')", "os.environ.setdefault('A', '1')", "argv = 1"):
        assert not reads_the_environment(source)


def test_nothing_below_the_command_line_reads_the_environment():
    assert {name for name, path in SOURCES.items() if reads_the_environment(path.read_text())} == READS_THE_ENVIRONMENT


def test_catching_anything_is_told_from_cleaning_up():
    assert catches_anything("try: f()\nexcept Exception as error: log(error)")
    assert catches_anything("try: f()\nexcept: pass")
    assert not catches_anything("try: f()\nexcept BaseException:\n  clean()\n  raise")
    assert not catches_anything("try: f()\nexcept ValueError: pass")


def test_any_exception_at_all_is_caught_at_the_boundaries_of_trials_and_commands():
    assert {name for name, path in SOURCES.items() if catches_anything(path.read_text())} == BOUNDARIES


@pytest.mark.parametrize("name", SOURCES)
def test_every_module_says_what_it_is_and_is_named_for_it(name):
    assert ast.get_docstring(ast.parse(SOURCES[name].read_text()))
    assert Path(name).stem not in VAGUE_NAMES


def test_recipes_and_all_that_they_are_put_together_from_are_read_without_torch():
    program = "import sys; sys.modules['torch'] = None; import trainers.recipe.recipe, search_spaces.json_schema"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_trainers_need_nothing_but_torch_numpy_pydantic_and_safetensors():
    names = [name for name in SOURCES if name.startswith("trainers/") and name not in NEEDS_TRITON]
    modules = [name.removesuffix(".py").replace("/", ".") for name in names]
    program = f"""
import importlib, sys
for library in {NOT_NEEDED_TO_TRAIN}:
    sys.modules[library] = None  # importing it now raises ImportError
for module in {modules}:
    importlib.import_module(module)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_importing_a_conftest_or_a_test_is_found():
    for source in ("from tests.conftest import it", "import tests.reports.conftest", "from tests import conftest"):
        assert imports_fixtures(source)
    assert imports_fixtures("from tests.reports.test_report import build")
    assert not imports_fixtures("from tests.reports.made_up import trial")


def test_no_file_imports_from_a_conftest_or_a_test():
    sources = {*SOURCES.values(), *ROOT.glob("tests/**/*.py"), *ROOT.glob("benchmarks/**/*.py")}
    assert [path.relative_to(ROOT).as_posix() for path in sources if imports_fixtures(path.read_text())] == []


def test_the_name_of_a_test_is_one_short_sentence():
    trees = (ast.parse(path.read_text()) for path in ROOT.glob("tests/**/*.py"))
    names = {node.name for tree in trees for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    assert "test_the_name_of_a_test_is_one_short_sentence" in names
    too_long = {name for name in names if name.startswith("test_") and len(name) > LONGEST_TEST_NAME}
    assert sorted(too_long - NAMED_BEFORE) == []
