"""What happened, on both sides, in a form that nobody can shorten or rewrite without its being seen."""
