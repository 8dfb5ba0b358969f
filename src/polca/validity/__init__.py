"""Does it hold: one module a question."""
