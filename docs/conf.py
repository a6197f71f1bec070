"""The site of gptcore: ``nox -s docs`` builds it, and runs every block of code on it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "extension"))

from gptcore import __version__

project = "gptcore"
author = "The gptcore authors"
release = __version__
copyright = "The gptcore authors, Apache License 2.0"
extensions = [
    "myst_nb",
    "sphinx_design",
    "sphinx_copybutton",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "api",
    "commands",
    "executed",
    "exercise",
    "mathml",
    "sources",
]
exclude_patterns = ["_build", "generated", "extension"]
nitpicky = False

myst_enable_extensions = ["colon_fence", "dollarmath", "amsmath", "deflist"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # the extension runs the pages; notebooks hold the outputs of their last run

html_theme = "furo"
html_math_renderer = "mathml"
html_title = "gptcore"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_extra_path = ["llms.txt"]
html_copy_source = False
html_show_sphinx = False
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True

autodoc_inherit_docstrings = False  # overridden methods of Keras and PyTorch have their own pages
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_maximum_signature_line_length = 100
napoleon_google_docstring = True
napoleon_numpy_docstring = False
