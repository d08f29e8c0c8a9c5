"""Many readings, scored, compared and drawn. It does not know training."""
