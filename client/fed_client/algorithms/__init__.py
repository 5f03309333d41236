"""What a site does in its private steps besides SGD, one method a file."""
