"""Where the parts are put together: the Flask app, the wiring tables, the processes."""
