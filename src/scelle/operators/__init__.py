"""People, roles, walls, requests that need two."""
