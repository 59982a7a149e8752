"""The figures of a report, drawn by matplotlib: the same input gives the same bytes."""
