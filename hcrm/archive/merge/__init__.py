"""Two archives of one person made one, and what it leaves behind to be undone by."""
