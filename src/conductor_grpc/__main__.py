"""`python -m conductor_grpc` is the command `conductor-grpc`."""

from conductor_grpc.cli import main

if __name__ == "__main__":
    main()
