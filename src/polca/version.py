"""The version of the installed package."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("polca")
except PackageNotFoundError:  # a checkout on the path that was never installed
    VERSION = "unknown"
