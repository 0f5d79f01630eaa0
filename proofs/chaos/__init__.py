"""What happens when things break: scripts to run by hand, with short forms in the tests."""
