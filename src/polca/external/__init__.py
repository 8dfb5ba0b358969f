"""Models that are not this repository's: what `polca analyze` does."""
