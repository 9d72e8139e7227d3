"""A real federation on loopback, and the parts of one."""
