"""What is known: documents, and the stores that hand out containers."""
