"""One file a verb: where ports meet adapters. Callable from Python without the command line."""
