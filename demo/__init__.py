"""`make demo`: pictures through a real server."""
