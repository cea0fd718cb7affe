"""Stacks: which components they name, whether these fit together, and whether runs can use them."""
