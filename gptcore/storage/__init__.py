"""Storage, independent of models: text files and tables; inside, atomic writes, transactions and the hub."""

from gptcore.storage.tables import TABLES, TEXT, Row, find, parts, read_table

__all__ = ["TABLES", "TEXT", "Row", "find", "parts", "read_table"]
