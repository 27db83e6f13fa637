"""The champion: its final exam and its package."""
