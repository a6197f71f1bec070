"""Containers: how the bytes of files store tensors and their names. The formats interpret the names."""
