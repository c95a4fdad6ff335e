"""Have the size and root of a log stamped by others, and check what they stamped."""
