"""Where machines run: one module a cloud, each behind the contract, and the registry that finds them."""
