"""The arithmetic setting (§4): three-digit additions, their skills and scores."""
