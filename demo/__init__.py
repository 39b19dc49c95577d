"""The main job on one machine, with a virtual reader and fictional people."""
