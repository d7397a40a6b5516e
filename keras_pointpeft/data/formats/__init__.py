"""Files of points and meshes: one reader for each kind."""
