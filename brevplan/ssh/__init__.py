"""Reaching a machine over SSH: readiness, GPU check, firewall, keys, and what the user's own ssh needs."""
