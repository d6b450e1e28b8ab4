"""The command `cigpose-client`: a thin shell around the library."""
