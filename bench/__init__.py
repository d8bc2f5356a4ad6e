"""What brevplan costs and what it survives: measured on the real command, never in a timed test."""
