"""Jets from Pythia 8, a parametrised detector and FastJet."""
