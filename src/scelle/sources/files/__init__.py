"""Offer every file and symbolic link of a tree."""
