"""Answer an authority's request with a package that proves its own completeness."""
