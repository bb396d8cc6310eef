"""Asking, finding, alerting; HTTP, the page and the command line; and the one file that wires it all."""
