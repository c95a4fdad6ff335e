"""Write things again, outside the vault, from what passes sealed of them; nothing in the vault is changed."""
