"""The app: puts the rooms together, and knows which app the module's own functions mean."""
