"""Real parts for the tests and the demo: control plane, played kubelet, federation."""
