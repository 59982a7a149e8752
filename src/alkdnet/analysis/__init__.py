"""What is computed of networks and results for tables and figures."""
