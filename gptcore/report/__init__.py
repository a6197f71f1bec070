"""Optional plots: training curves and attention maps. They need the extra ``train``."""

from gptcore.report.curves import draw, plot
from gptcore.report.figures import DARK, PALE, picture, plot_attentions

__all__ = ["DARK", "PALE", "draw", "picture", "plot", "plot_attentions"]
