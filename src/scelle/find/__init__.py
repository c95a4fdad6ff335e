"""Search the metadata of what is sealed."""
