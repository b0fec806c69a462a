"""From an fx graph to a functional one: writes in place said as values, and single ops taken apart."""
