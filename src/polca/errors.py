"""The one exception that bad input raises."""


class PolcaError(ValueError):
    """Bad input or an impossible setting: one line that names the file or parameter and the way out."""
