"""What is drawn while pixels load: the one place where they may be coarse, older or blank."""
