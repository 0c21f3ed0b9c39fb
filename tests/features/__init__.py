"""docs/features.md: what other worker SDKs can do and what is wrong with them, and the tests that show both here."""
