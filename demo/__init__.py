"""Run the whole life of an order on real documents, and try to cheat the authority."""
