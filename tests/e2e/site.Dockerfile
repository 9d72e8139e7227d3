# What a hospital's site runs on: NVFlare, numpy for its jobs, the Kubernetes client for its launcher. Nothing of Sitelog.
ARG BASE=python:3.11-slim
FROM ${BASE}
RUN python3 -m pip install --no-cache-dir --break-system-packages nvflare==2.9.0 numpy kubernetes
# NVFlare's charts and its launcher look for it there.
RUN test -x /usr/local/bin/python3 || ln -s "$(command -v python3)" /usr/local/bin/python3
