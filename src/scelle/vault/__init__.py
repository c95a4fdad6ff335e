"""Keep content encrypted, write-once, addressed by SHA-256: keys, backends, packs, derived catalog."""
