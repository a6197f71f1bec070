"""Storage, independent of models: atomic writes, transactions, the hub, text files and tables."""
