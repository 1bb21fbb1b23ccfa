"""The command line: `hcrm --help`."""
