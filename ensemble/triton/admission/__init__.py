"""Admission control, put around every pipeline by the Triton runtime: no step knows of it."""
