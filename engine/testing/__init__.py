"""Contract and conformance suites that ship with the package; they need the `test` extra."""
