"""The program Delphes in place of the detector as array code."""
