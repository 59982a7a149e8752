"""Where data sets and weights are published, and how they are fetched and verified."""
