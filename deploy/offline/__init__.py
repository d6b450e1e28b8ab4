"""Millions of pictures through a server: a job for Ray, and an indexed Job of Kubernetes."""
