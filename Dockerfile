# The default target is the operator; `--target uploader` is the image of the upload Jobs, which holds NVFlare too.
ARG BASE=python:3.11-slim

FROM ${BASE} AS wheel
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY operator operator
RUN python3 -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM ${BASE} AS base
COPY --from=wheel /wheels /wheels
RUN python3 -m venv /opt/sitelog \
    && /opt/sitelog/bin/pip install --no-cache-dir /wheels/sitelog-*.whl
ENV PATH=/opt/sitelog/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
WORKDIR /tmp

FROM base AS uploader
RUN wheel=$(echo /wheels/sitelog-*.whl) \
    && /opt/sitelog/bin/pip install --no-cache-dir "$wheel[upload]"
# A number, so that the kubelet can tell that it is not root.
USER 65532:65532
ENTRYPOINT ["sitelog"]

FROM base AS operator
USER 65532:65532
ENTRYPOINT ["sitelog"]
