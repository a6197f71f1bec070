"""Decoding methods that run on the host, over a ``Stepper``."""
