"""A job's configuration: its formats, NVFlare's resolution, which components it builds, streamers, the decision."""
