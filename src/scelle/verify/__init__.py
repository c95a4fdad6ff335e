"""The shipped verifier: one file that stands alone, uses the standard library only and imports nothing of scelle."""
