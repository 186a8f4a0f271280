"""A Django project: an archive of papers, kept in the admin and shown on one page.

It is served by name from outside this package, so it imports nothing of it. Django ships no types.
"""
