"""A merge undone: each archive has again what it had, and what was told since goes to whom it was told of."""
