"""What the paper publishes, and the audit of it."""
