"""Where Python decides by data, and what a run answers."""
