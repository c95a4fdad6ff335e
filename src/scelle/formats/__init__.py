"""Turn bytes into frozen records and back, byte for byte; one module and one page of docs/formats each."""
