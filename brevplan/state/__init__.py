"""What we remember: one SQLite file with every workspace, its lock, and its history of runs."""
