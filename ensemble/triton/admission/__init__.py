"""Admission control. The Triton runtime adds it to every pipeline; the pipelines' own steps do not depend on it."""
