"""HTTP: a file per subject, each route a line or two over its use-case."""
