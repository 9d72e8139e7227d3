"""From a job pod's end to its error log on the FL server."""
