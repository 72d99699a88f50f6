"""What a run directory is: its tables, who writes and reads them, and what makes a row sound."""
