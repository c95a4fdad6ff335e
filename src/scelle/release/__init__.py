"""End what orders hold: erasure requests, quarantine, release and disposal."""
