"""Our models against recorded outputs of the published ones."""
