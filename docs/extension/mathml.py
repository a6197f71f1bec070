"""Formulas as MathML, which browsers draw without a script."""

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util import logging

logger = logging.getLogger(__name__)


def inline(translator, node: nodes.math) -> None:
    """Write a formula in a sentence."""
    translator.body.append(converted(node))
    raise nodes.SkipNode


def block(translator, node: nodes.math_block) -> None:
    """Write a formula in a line of its own."""
    translator.body.append(f'<div class="formula">{converted(node, as_block=True)}</div>')
    raise nodes.SkipNode


def converted(node: nodes.Element, as_block: bool = False) -> str:
    """The MathML for LaTeX; an unknown command is an error of the page."""
    try:
        return tex2mathml(node.astext(), as_block=as_block)
    except MathError as error:
        logger.error(str(error), location=node)
        return ""


def setup(app) -> dict[str, bool]:
    """Register the renderer."""
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
