"""The command ``gateways``: ``main`` is where it begins, ``group`` has all of its commands.

A server has no use for what reads its command line, so nothing of that is imported from here.
"""
