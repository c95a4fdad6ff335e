"""Make reports from one set of data, as JSON and as pages, in several languages."""
