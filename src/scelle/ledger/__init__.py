"""Keep one append-only log per order: write-ahead, sequence, commit, publish."""
