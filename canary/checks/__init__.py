"""What a check is: its source (where numbers come from) and its judge (what they mean), with the template laid under it."""
