"""A call of the model: arguments and results taken apart (`tree`, `inputs`), and sizes that may vary (`dynamic`)."""
