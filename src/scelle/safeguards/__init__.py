"""Record, gate and audit what a service that generates pictures does."""
