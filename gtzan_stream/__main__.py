"""Run the command line with `python -m gtzan_stream`, for when `gtzan-stream` is not on the path."""

from gtzan_stream.cli import main

if __name__ == "__main__":
    main()
