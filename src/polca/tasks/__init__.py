"""Tasks: each gives data, the token-loss function, the evaluation tokens and their labels."""
