"""Tables, figures, claims and the typeset report."""
