"""Typed records of the stages' outputs: one writer and one reader each."""
