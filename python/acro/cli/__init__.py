"""The parser that the commands share, and run folders."""
