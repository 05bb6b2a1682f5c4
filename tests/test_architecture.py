"""The rules of the house, held: who imports whom, and who may import what."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("trainers", "search_spaces", "sweeper", "reports")

# The arrows: a package imports itself and these.
MAY_IMPORT = {
    "trainers": {"trainers"},
    "search_spaces": {"search_spaces", "trainers"},
    "sweeper": {"sweeper", "search_spaces", "trainers"},
    "reports": {"reports", "search_spaces", "trainers"},
}
# The one exception: the command line brings all together.
COMMAND_LINE = "sweeper/cli.py"

THIRD_PARTIES = {
    "trainers": {"torch", "torchvision", "numpy", "pydantic", "safetensors", "sklearn"},
    "search_spaces": {"pydantic", "yaml"},
    "sweeper": {"ray", "optuna", "mlflow", "rich", "torch", "pydantic", "safetensors", "yaml"},
    "reports": {"mlflow", "pandas", "numpy", "scipy", "matplotlib", "jinja2"},
}
# What is imported in these files and nowhere else, so that it can be replaced there and nowhere else.
ONLY_IN = {
    "ray": set(),
    "mlflow": {"sweeper/tracking.py", "reports/runs.py"},  # one writes, one reads
    "optuna": set(),
    "matplotlib": {"reports/figures.py"},
    "yaml": set(),
    "sklearn": set(),  # its digits are read without importing it: that takes a second
}
# A machine with a GPU and little else trains all the same.
NOT_NEEDED_TO_TRAIN = ("ray", "mlflow", "optuna", "pandas", "matplotlib", "scipy", "sklearn", "yaml", "rich", "jinja2")


def imported_modules(source: str) -> set[str]:
    """Every absolute module that the source imports anywhere: in functions and under TYPE_CHECKING too."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute here, so that they can be found"
            # `from sweeper import cli` imports sweeper.cli; for other names the module itself is what counts.
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)} - {None}
    return found


def top_level(modules: set[str]) -> set[str]:
    """The packages that the modules belong to, the standard library left out."""
    return {module.partition(".")[0] for module in modules} - sys.stdlib_module_names - {"__future__"}


SOURCES = {
    path.relative_to(ROOT).as_posix(): path for package in PACKAGES for path in ROOT.joinpath(package).rglob("*.py")
}
IMPORTS = {name: imported_modules(path.read_text()) for name, path in SOURCES.items()}


def test_imports_are_found_wherever_they_hide():
    source = "import a.b\nfrom c import d\nif TYPE_CHECKING:\n    import e\ndef f():\n    from g.h import i\n"
    assert top_level(imported_modules(source)) == {"a", "c", "e", "g"}
    with pytest.raises(AssertionError, match="line 1: imports are absolute"):
        imported_modules("from . import sibling")


@pytest.mark.parametrize("name", SOURCES)
def test_arrows_point_one_way(name):
    package = name.partition("/")[0]
    allowed = MAY_IMPORT[package] | ({"reports"} if name == COMMAND_LINE else set())
    assert top_level(IMPORTS[name]) & set(PACKAGES) <= allowed


@pytest.mark.parametrize("name", SOURCES)
def test_nothing_imports_the_command_line(name):
    assert not {module for module in IMPORTS[name] if module.startswith("sweeper.cli")} or name == COMMAND_LINE


@pytest.mark.parametrize("name", SOURCES)
def test_a_package_imports_only_the_third_parties_it_declares(name):
    package = name.partition("/")[0]
    assert top_level(IMPORTS[name]) - set(PACKAGES) <= THIRD_PARTIES[package]


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_is_imported_in_its_own_files_only(library):
    assert {name for name, modules in IMPORTS.items() if library in top_level(modules)} == ONLY_IN[library]


def test_trainers_need_nothing_but_torch_numpy_pydantic_and_safetensors():
    modules = [name.removesuffix(".py").replace("/", ".") for name in SOURCES if name.startswith("trainers/")]
    program = f"""
import importlib, sys
for library in {NOT_NEEDED_TO_TRAIN}:
    sys.modules[library] = None  # importing it now raises ImportError
for module in {modules}:
    importlib.import_module(module)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
