"""Client of the CIGPose ensembles."""
