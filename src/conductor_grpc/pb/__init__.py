"""Generated protobuf stubs of the Conductor server's wire contract. Nothing here is written by hand."""
