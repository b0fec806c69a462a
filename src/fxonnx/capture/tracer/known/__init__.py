"""What hangs on no input: its values, and the calls that have another form where those are known."""
