"""What is drawn while pixels are loading: the one place where pixels may be coarse, older or blank."""
