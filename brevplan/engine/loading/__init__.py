"""Syntax trees in, `Config` out: structure checked, expressions prepared, every mistake told."""
