"""Sphinx: Markdown pages, and the API from the docstrings."""

from importlib.metadata import version as version_of

project = "napari-lazyload"
author = copyright = "napari-lazyload contributors"
version = release = version_of("napari-lazyload")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
myst_heading_anchors = 3

autodoc_member_order = "groupwise"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_google_docstring = False
napoleon_use_ivar = True
python_use_unqualified_type_names = True

# Words such as "path" in a docstring name an attribute of several classes.
suppress_warnings = ["ref.python"]

html_theme = "pydata_sphinx_theme"
html_theme_options = {
    "github_url": "https://github.com/napari-lazyload/napari-lazyload",
    "show_prev_next": False,
}
html_show_sourcelink = False
