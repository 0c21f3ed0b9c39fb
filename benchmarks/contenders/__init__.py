"""The clients that are compared, each a program of its own: `PROGRAM TASK_TYPE CONCURRENCY` under the addresses
in CONDUCTOR_GRPC_TARGET and CONDUCTOR_SERVER_URL. They run until they are killed and do nothing in their tasks."""
