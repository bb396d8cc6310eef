"""Learned frame encoders, one file per family."""
