"""Text for the English setting, from one of three sources."""
