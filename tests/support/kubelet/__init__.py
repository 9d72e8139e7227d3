"""A played kubelet: a node without a machine."""
