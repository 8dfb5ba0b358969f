"""A preset's run: its parameters, stages, analyses and results."""
