"""Charts as pure functions on numpy arrays: scales, envelopes, dots, cells. No Textual here."""
