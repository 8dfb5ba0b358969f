"""What the computer brings in: files, processes, portable matrix products, progress, resuming."""
