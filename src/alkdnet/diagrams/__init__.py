"""Diagrams of the networks, drawn from the modules themselves.

Not in `reporting`: they show no results, and no report depends on them.
"""
