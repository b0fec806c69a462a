"""Numbers and sizes that data says in a loop: others in each iteration."""
