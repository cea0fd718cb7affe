"""One package per component type, one module per flavor: its configuration model and its behaviour."""
