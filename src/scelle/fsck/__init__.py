"""Re-read everything, trust no catalog, name every fault; and remake the catalog."""
