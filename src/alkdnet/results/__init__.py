"""Typed records of what the stages leave on disk: one writer and one reader each."""
