"""Generated: the messages of package conductor.proto."""
