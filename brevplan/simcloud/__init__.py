"""A cloud to practise on: one model of capacity, lifecycle and faults, kept in one SQLite file."""
