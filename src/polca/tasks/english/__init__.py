"""The English setting (§5): text, tags and labels."""
