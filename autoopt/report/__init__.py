"""The report: what is read in the morning, in the terminal, as a page and as one JSON document."""
