"""Where the checkout is. Loads nothing, so that a command can answer at once."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
"""The checkout: presets, runs, figures and paper lie below it."""
