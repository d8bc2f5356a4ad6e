"""The configuration language: text in, values out. It knows no clouds, no resources and no plans."""
