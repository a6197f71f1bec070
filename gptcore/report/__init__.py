"""Optional plots: training curves and attention maps. They need the extra ``train``."""

from gptcore.report.curves import draw, plot
from gptcore.report.figures import plot_attentions

__all__ = ["draw", "plot", "plot_attentions"]
