"""Containers: the bytes of files <-> tensors under their names there. What the names mean is up to the formats."""
