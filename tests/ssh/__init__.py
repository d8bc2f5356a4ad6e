"""Tests of how machines are reached over SSH."""
