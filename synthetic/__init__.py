"""Rendered people with exact key points: scenes, training of small networks on them, and the accuracy gate."""
