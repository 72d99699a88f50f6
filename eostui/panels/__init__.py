"""What each chart shows: from the columns of a run to curves, marks and labels."""
