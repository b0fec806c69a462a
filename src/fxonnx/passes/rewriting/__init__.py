"""Rewriting: a rule's patterns, where they stand in a graph, and nodes exchanged for others.

`pattern` records what a rule's `before` says, `match` finds it, `rewrite` applies rules until none does anything, and
`replace` exchanges nodes, for rules and legalization.
"""
