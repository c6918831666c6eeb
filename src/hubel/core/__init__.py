"""Words that everyone shares; imports nothing of hubel outside this folder."""
