"""Tasks: all that the rest of the package knows of a setting. Both settings of the paper are tasks; yours can be."""
