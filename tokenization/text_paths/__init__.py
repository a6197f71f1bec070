"""The two text paths: from text to the words that byte-pair encoding splits into pieces."""
