"""`python -m gtzan_stream` is the command line `gtzan-stream`, where that is not on the path."""

from gtzan_stream.cli import main

if __name__ == "__main__":
    main()
