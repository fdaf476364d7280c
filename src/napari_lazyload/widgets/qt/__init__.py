"""Small Qt helpers: workers, posts to the main thread, imports while idle."""
