"""How long a bad canary keeps its share, from the first bad answer on, by how often counters are scraped: `make detect-report`."""
