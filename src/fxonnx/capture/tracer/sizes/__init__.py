"""Symbolic sizes: the nodes behind `torch.SymInt`s, the guards that comparisons leave, the constraints they make."""
