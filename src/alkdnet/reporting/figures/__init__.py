"""The pictures of a report, drawn with matplotlib's Agg: the same input gives the same bytes."""
