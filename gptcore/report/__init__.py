"""Pictures: curves of training, attention maps. Needs matplotlib."""
