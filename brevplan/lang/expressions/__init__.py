"""One module for each family of expressions: how it is prepared once, and what running it gives."""
