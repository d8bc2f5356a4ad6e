"""The built-in functions of the language, one module a family; `registry` finds them by name, on first use."""
