"""The terminal application: reads run directories, writes commands, never loads torch."""
