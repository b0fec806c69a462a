"""When two captures of one model say the same: call by call (`same_graph`), at sizes of 0 and 1 (`zero_one`)."""
