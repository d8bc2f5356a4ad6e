"""How a person and a machine read plans, progress and diagnostics. Values in, text or plain data out."""
