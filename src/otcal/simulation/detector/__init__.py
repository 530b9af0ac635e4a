"""Response of the JetClass Delphes detector as array code."""
