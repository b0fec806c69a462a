"""At which lengths the model runs: long enough for its chunks, and beyond what its code compares with."""
