"""`glam bench matrix` and `glam bench report`: every method on every task, measured, kept as JSON, and shown."""
