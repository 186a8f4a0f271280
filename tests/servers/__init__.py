"""The real web servers, booted on the files in contrib/ as they are, in front of real servers."""
