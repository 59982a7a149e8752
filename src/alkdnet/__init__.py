"""A reproduction of ALKDNet (Qu & Ke 2024): networks, exact data, training, evaluation and reports."""
