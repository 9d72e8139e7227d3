"""The one door to a decision about a ConfigMap, whatever somebody has put into it: bounded in time and memory."""
