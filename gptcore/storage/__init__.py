"""Files and no model: atomic writes, transactions, the hub, text and tables."""
