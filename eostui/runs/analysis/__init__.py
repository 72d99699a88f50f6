"""What is read off the columns of a run: phases, resting values, crossings, monitors, differences."""
