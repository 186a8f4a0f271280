"""Processes: how a server lives in one, and what ends it."""
