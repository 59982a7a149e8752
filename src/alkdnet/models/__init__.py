"""What the networks share: blocks, construction, released weights, cost, features, inference."""
