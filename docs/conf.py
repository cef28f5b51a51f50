"""How Sphinx builds the guide and, with -b doctest, runs its examples."""

from importlib.util import find_spec
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.ext.autosummary import AutoLink

import bptt

project = "bptt"
copyright = "the authors of bptt"
release = bptt.__version__

extensions = [
    "myst_parser",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.doctest",
]

# Inherited attributes: documented once, where Module is.
nitpick_ignore = [("py:obj", name) for name in ("keeps_steps", "params", "stateful")]

default_role = "name"

autodoc_default_options = {"members": True, "special-members": "__call__"}
autodoc_member_order = "bysource"
autodoc_typehints = "none"  # docstrings tell them, with shapes
autosummary_generate = False
numpydoc_show_class_members = False  # members follow with their own docstrings
toc_object_entries_show_parents = "hide"

myst_heading_anchors = 3

html_theme = "pydata_sphinx_theme"
html_title = "bptt"
html_static_path = ["_static"]
html_css_files = ["wide.css"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "footer_start": ["copyright"],
    "footer_end": [],
}


class Name(AutoLink):
    """What stands in single backquotes: a link if an object is called so, else code."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        package = self.text.partition(".")[0]
        if package and package != "bptt" and find_spec(package):  # another's, if installed
            return [nodes.literal("", self.text)], []
        made, messages = super().run()
        code = [nodes.literal("", n.astext()) if isinstance(n, nodes.emphasis) else n for n in made]
        return code, messages


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_role("name", Name())
    return {"parallel_read_safe": True}
