"""The families of pose networks."""
