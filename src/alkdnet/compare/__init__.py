"""Looking at pictures: one page that compares them."""
