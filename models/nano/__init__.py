"""Nano: a small visual model of our own, trained from random weights, that ships with the product."""
