"""The documentation site: `make docs` builds it from the repository's Markdown, docstrings and notebooks.

    sphinx-build -c docs . build/docs        # pages keep the paths that they have in the repository, so links hold
"""

from fxonnx import __version__

project = "fxonnx"
version = release = __version__
copyright = "fxonnx contributors"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode"]
root_doc = "docs/index"
include_patterns = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/*.md", "docs/**/*.md", "notebooks/*.ipynb"]
exclude_patterns = ["build", ".venv*"]
html_theme = "furo"
html_title = f"fxonnx {__version__}"

default_role = "code"  # docstrings and pages write `code` as Markdown does
autodoc_member_order = "groupwise"
autodoc_typehints = "signature"
napoleon_google_docstring = True

myst_heading_anchors = 3
myst_enable_extensions = ["dollarmath"]
nb_execution_mode = "cache"  # a notebook is run when it has changed
nb_execution_timeout = 300
nb_execution_raise_on_error = True


def pictures(app, what, name, obj, options, lines):
    """Make what is set off by an indent in a docstring, behind an empty line, a literal block: code, or a picture."""
    for place in range(len(lines) - 1, 0, -1):
        if not lines[place].strip() or lines[place - 1].strip():
            continue
        indent = len(lines[place]) - len(lines[place].lstrip())
        above = next((line for line in reversed(lines[:place]) if line.strip()), "")
        if indent >= 4 + len(above) - len(above.lstrip()):
            lines[place:place] = ["::", ""]


def setup(app):
    """Pictures come before the sections of a docstring are read."""
    app.connect("autodoc-process-docstring", pictures, priority=400)
