"""torch's higher-order ops: their functions recorded on the tape, and cut out of it as bodies."""
