"""How the documentation site is built: `make docs` puts it into build/docs."""

import os
import sys
import tomllib
from pathlib import Path

import click
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
for variable in [name for name in os.environ if name.startswith("SWEEPER_")]:
    del os.environ[variable]  # it would show up as a default in the help of a command

project = "Slot sweeper"
release = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
copyright = "its authors; Apache-2.0"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_click", "docs.generated"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["generated"]
nitpicky = True
# Classes of other libraries, and what a signature abbreviates: their pages are not part of this site.
nitpick_ignore_regex = [("py:.*", ".*")]
default_role = "code"  # docstrings here mark code by single backticks
smartquotes_action = "qe"  # two hyphens stay what they are: the beginning of a flag
highlight_language = "text"
myst_heading_anchors = 4
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88

html_theme = "furo"
html_title = f"Slot sweeper {release}"
html_static_path = ["site"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False


def example(app: object, context: click.Context, lines: list[str]) -> None:
    """A command's example as it would be typed: what follows the help of every command is no prose."""
    if context.command.epilog:
        lines[:] = [
            "Example:",
            "",
            ".. code-block:: text",
            "",
            f"   {context.command.epilog.removeprefix('example: ')}",
            "",
        ]


def setup(app: Sphinx) -> None:
    app.connect("sphinx-click-process-epilog", example)
