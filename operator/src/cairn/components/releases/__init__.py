"""What Helm keeps installed for components."""
