"""Thin async I/O: nothing here decides."""
