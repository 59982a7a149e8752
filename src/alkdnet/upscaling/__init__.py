"""From image files to larger ones: what surrounds the network when somebody has pictures."""
