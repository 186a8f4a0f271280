"""What the servers load; on their sys.path without the rest of the repository."""
