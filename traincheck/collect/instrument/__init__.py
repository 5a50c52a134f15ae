"""How functions are watched: which are found, how ours stand in for them, and when they have their own code back."""
