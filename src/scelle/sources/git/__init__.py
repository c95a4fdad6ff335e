"""Read a git repository: every object, reachable or not, every ref, every reflog; and write one back."""
