"""Two real applications, blog (Flask) and papers (Django), behind the real web servers."""
