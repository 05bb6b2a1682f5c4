"""What the command line does about plug-ins: asks whether to run one, and takes it along."""
