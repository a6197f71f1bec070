"""Conversion between checkpoint formats, inspection, model cards, and upload to the hub."""
